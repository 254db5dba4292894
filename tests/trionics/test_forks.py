"""What a fork keeps of its parent's sockets."""

import os
import socket
import warnings

from tractor.trionics._forks import close_in_forks


def look_in_fork(fd: int) -> bool:
    """Tell whether a fork of this process has that descriptor open."""
    with warnings.catch_warnings():
        # Other threads may run in a test session; the fork does nothing that could meet their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.fstat(fd)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_fork_closes_its_copy_and_only_that() -> None:
    """The socket itself goes on working; one that nobody named is kept."""
    left, right = socket.socketpair()
    with left, right:
        close_in_forks(left)
        assert not look_in_fork(left.fileno())
        assert look_in_fork(right.fileno())
        left.send(b"x")
        assert right.recv(1) == b"x"


def test_a_socket_that_is_gone_is_forgotten() -> None:
    """Its number may belong to something else by then."""
    left, right = socket.socketpair()
    close_in_forks(left)
    number = left.fileno()
    left.close()
    del left
    with right:
        copy = os.dup(right.fileno())
        try:
            assert copy == number
            assert look_in_fork(copy)
        finally:
            os.close(copy)
