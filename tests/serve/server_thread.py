"""A real server of the service in a thread."""

import threading
import time


def until(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class served:
    """A real server in a thread; gives its port, and ends it like SIGTERM does."""

    def __init__(self, service):
        from clinragen.serve import server

        self.socket = server.listen("127.0.0.1", 0)
        self.ready = threading.Event()
        self.server = server.make_server(service, self.ready.set)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(20)
        return self.socket.getsockname()[1]

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
