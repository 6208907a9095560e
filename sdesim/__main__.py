"""The command `sdesim`, also as `python -m sdesim`.

Python delivers a signal to its main thread alone, between two instructions; while XLA compiles there are none. So the
command's work runs in a second thread, and the first one waits and hears. This module is what the command imports
first, and it imports next to nothing itself: JAX, whose import takes seconds, comes after the handler is there.
"""

import os
import signal
import sys
import threading

from sdesim.cache import keep_compiled
from sdesim.interrupt import listen


def command() -> int:
    """The command `sdesim`: its exit status."""
    listen()
    status = [1]

    def work() -> None:
        try:
            if sys.argv[1:2] != ["bench"]:  # which measures how long XLA takes
                keep_compiled()
            from sdesim.cli import main

            status[0] = main()
        except SystemExit as stop:
            if stop.code is not None and not isinstance(stop.code, int):
                print(stop.code, file=sys.stderr)
            status[0] = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BrokenPipeError:  # whoever read what we print has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)

    worker = threading.Thread(target=work, name="sdesim", daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(0.1)  # not for ever: the system may have given the signal to another thread
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done, and what is left of the process is its end
    return status[0]


if __name__ == "__main__":
    sys.exit(command())
