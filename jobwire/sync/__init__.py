"""The blocking face, for scripts and programs without an event loop.

::

    from jobwire.sync import Client

    with Client("redis://127.0.0.1") as client:
        print(client.submit({"some_data": "reverse me please"}).result())

Names and options are those of ``jobwire.Client`` and ``jobwire.Worker``, which do the work in an event loop in a thread
of its own; nothing of the protocol is written here again.

* Any number of threads may use one client, and share its handles.
* Functions that are given to it (``trace``, ``on_state``, ``route``, callbacks) are called in the loop's thread: they
  must be quick, and must not wait for a result.
* Threads do not survive ``fork``: make the client in the child. One that was made before raises ``ClosedError`` there.
* KeyboardInterrupt ends any wait here at once; the job itself goes on.
"""

from __future__ import annotations

from jobwire.sync.faces import Client, JobHandle, Worker

__all__ = ["Client", "JobHandle", "Worker"]
