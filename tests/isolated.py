"""Runs functions in interpreters that share no GIL, from CPython 3.14 on."""

import json
import sys
import threading
from pathlib import Path
from typing import Any

#: Seconds for an interpreter to import what it needs and do its work.
LIMIT = 60.0
CODE = """
import json, sys
sys.path[:] = {path!r}
from importlib import import_module
found = getattr(import_module({module!r}), {name!r})(*{args!r})
with open({report!r}, "w") as file:
    json.dump(found, file)
"""


def run_isolated(report: Path, target: str, *args: Any) -> Any:
    """Call the function at `target` (`module:name`) in a new interpreter, and return what it returns, by way of JSON.

    Its thread has no other use, and ends before the interpreter is destroyed.
    """
    import _interpreters

    module, _, name = target.partition(":")
    code = CODE.format(path=sys.path, module=module, name=name, args=args, report=str(report))
    interpreter = _interpreters.create(_interpreters.new_config("isolated", allow_daemon_threads=True))
    failures: list[Any] = []
    thread = threading.Thread(target=lambda: failures.append(_interpreters.exec(interpreter, code)))
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), f"{target} takes too long"
    _interpreters.destroy(interpreter)
    assert failures == [None], failures[0].errdisplay
    return json.loads(report.read_text())
