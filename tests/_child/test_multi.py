"""What a process of `multiprocessing` runs: see tests/spawn/test_mp.py for its life."""

import os
import pickle
from multiprocessing.context import set_spawning_popen

from tractor._child._multi import ActorProcess
from tractor.spawn._mp import SpawnedProcess


def test_its_descriptors_travel_as_those_of_the_child() -> None:
    """However they are passed: a fresh interpreter has them under the same numbers."""
    process = SpawnedProcess()
    actor = ActorProcess("kid", [7, 8, 9], {"preload": ["numpy"]})
    set_spawning_popen(process)  # type: ignore[arg-type]
    try:
        copy = pickle.loads(pickle.dumps(actor))
    finally:
        set_spawning_popen(None)
    assert [fd.detach() for fd in copy._fds] == [7, 8, 9] == process._fds
    assert copy._backend == {"preload": ["numpy"]}
    assert copy._environ == dict(os.environ)
    assert copy.name == "kid"
