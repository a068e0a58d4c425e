"""The program of a fork server whose work hangs, fails or grows. Tests start it in place of the real one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from integration.web.isolation.fork_server import serve


def echo(prepared, value):
    return [prepared, value]


def pid(prepared, value):
    return [os.getpid(), os.getppid()]


def spin(prepared, value):
    """Never end. An empty file in the folder `value` is named after the process."""
    Path(value, str(os.getpid())).touch()
    while True:
        pass


def in_one_call(prepared, value):
    """Take minutes in a single instruction, where no signal handler of Python runs."""
    return value < 7 ** (7**9)


def sleep(prepared, value):
    time.sleep(3600)


def grow(prepared, value):
    return len(bytearray(value))


def fail(prepared, value):
    raise RuntimeError(value)


def end(prepared, value):
    os.kill(os.getpid(), 9)


def write(prepared, value):
    Path(value).write_text("x")


def stop_fork_server(prepared, value):
    os.kill(os.getppid(), 9)


def environment(prepared, value):
    return dict(os.environ)


WORK = {
    **{
        each.__name__: each
        for each in (
            echo,
            pid,
            spin,
            in_one_call,
            sleep,
            grow,
            fail,
            end,
            write,
            stop_fork_server,
            environment,
        )
    },
}

COMMAND = (sys.executable, __file__)

if __name__ == "__main__":
    serve(WORK, lambda value: value)
