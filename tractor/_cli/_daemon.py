"""`tractor daemon MODULE...`: answer others with the functions of some modules."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import trio

from tractor.ipc._addr import wrap_address
from tractor.runtime._actor import Actor


class _Address(click.ParamType[Any]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return wrap_address(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


@click.command()
@click.argument("modules", nargs=-1, required=True, metavar="MODULE...")
@click.option("--name", default="daemon", show_default=True, help="The name it is found by.")
@click.option(
    "--registry", "registries", multiple=True, type=_Address(), help="Where names are kept, as a multiaddr."
)
@click.option("--bind", "binds", multiple=True, type=_Address(), help="Where to listen, as a multiaddr.")
@click.option(
    "--transport",
    "transports",
    multiple=True,
    type=click.Choice(["tcp", "uds"]),
    help="Default: what the addresses say, or tcp.",
)
@click.option("--ensure-registry", is_flag=True, help="Fail where another program keeps the names already.")
@click.option(
    "--ready-file", type=click.Path(dir_okay=False), help="Write the addresses here once it can be found."
)
@click.option("--loglevel", help="What to show on stderr.")
def daemon(
    modules: tuple[str, ...],
    name: str,
    registries: tuple[Any, ...],
    binds: tuple[Any, ...],
    transports: tuple[str, ...],
    ensure_registry: bool,
    ready_file: str | None,
    loglevel: str | None,
) -> None:
    """Run an actor that exposes the functions of MODULE..., until Ctrl-C or SIGTERM.

    When it can be found it says so: on stdout and, with --ready-file, in a file that is removed when it ends.
    Addresses are multiaddrs such as /ip4/127.0.0.1/tcp/1616 or /unix/run/user/1000/tractor/x.sock.
    """
    from tractor.supervise._daemon import run_daemon

    # As `python -m` does: modules of the working directory can be named.
    sys.path.insert(0, os.getcwd())
    spoken = [addr.proto_key for addr in (*registries, *binds)]
    try:
        run_daemon(
            modules,
            name=name,
            registry_addrs=list(registries) or None,
            tpt_bind_addrs=list(binds),
            enable_transports=list(transports) or list(dict.fromkeys(spoken)) or None,
            ensure_registry=ensure_registry,
            loglevel=loglevel,
            on_ready=lambda actor: _say_ready(actor, ready_file),
        )
    except (ImportError, SyntaxError, RuntimeError, ValueError, OSError) as exc:
        raise click.ClickException(f"{type(exc).__name__}: {exc}") from exc
    except KeyboardInterrupt:
        sys.exit(130)


async def _say_ready(actor: Actor, path: str | None) -> None:
    addrs = [addr.maddr for addr in actor.server.addrs]
    role = "registrar" if actor.is_registrar else "registered"
    click.echo(f"{actor.aid} ({role}) listens on {' '.join(addrs)}")
    sys.stdout.flush()
    if path is not None:
        beside = f"{path}.{os.getpid()}"
        try:
            await trio.Path(beside).write_text("".join(f"{addr}\n" for addr in addrs))
            # Whoever waits for the file must not find half of it.
            os.replace(beside, path)
        except BaseException:
            _unlink(beside)
            raise
        actor.lifetime_stack.callback(_unlink, path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
