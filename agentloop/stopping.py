"""Whether the worker was asked to stop. Whoever works in long rounds looks here between two steps.

Celery's main process waits for the tasks in hand and tells the processes that do them nothing: so it raises a flag
that they see, in memory that was shared with them when they were forked. A task that ends early loses nothing, since
the clock's next tick goes on with it.
"""

import mmap
import time

LOOK_SECONDS = 0.2

_flag = mmap.mmap(-1, 1)


def ask(asked: bool = True) -> None:
    _flag[0] = asked


def is_asked() -> bool:
    return bool(_flag[0])


def rest(seconds: float) -> None:
    """Sleeps so long, or until a stop is asked for."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not is_asked():
        time.sleep(min(left, LOOK_SECONDS))
