"""The shop over HTTP, on 127.0.0.1 only, until SIGTERM."""
import contextlib
import json
import os
import signal
import socketserver
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import files
from .files import Problem, log
from .modules import Down, Refused
from .service import Shop
from .store import SoldOut

SILENT = ("/health", "/reload", "/shared")  # asked by machines: not what customers experience


class Handler(BaseHTTPRequestHandler):
    """One request, one JSON answer, connection closed."""

    timeout = 1  # a silent client must not hold up a stop
    wbufsize = -1  # head and body in one packet

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        try:
            size = int(self.headers.get("Content-Length") or 0)
            if not 0 <= size <= self.server.shop.config["limits"]["max_body_bytes"]:
                raise ValueError
            body = json.loads(self.rfile.read(size) or b"{}")
        except ValueError:
            self.send(400, {"error": "the body must be JSON, and small"})
        else:
            self.answer(body)

    def answer(self, body):
        if self.path in SILENT:
            status, value = self.route(self.server.shop, body)
        else:
            began = time.perf_counter()
            status, value = self.server.shop.mishap() or self.route(self.server.shop, body)
            self.server.shop.note(status < 500, (time.perf_counter() - began) * 1000)
        self.send(status, value)

    def route(self, shop, body):
        """(status, answer); 4xx is the customer's mistake and 5xx is ours."""
        try:
            asked = (self.command, self.path)
            if asked == ("GET", "/health"):
                return 200, shop.health()
            if asked == ("GET", "/products"):
                return 200, shop.products()
            if asked == ("GET", "/orders"):
                return 200, shop.totals()
            if asked == ("POST", "/orders"):
                return 201, shop.order(body)
            if asked == ("POST", "/reload"):
                return 200, shop.reload()
            if asked == ("POST", "/shared"):
                return 200, {"value": shop.share(str(body["from"]), str(body["to"]), body["value"])}
            if self.command == "GET" and self.path.startswith("/suggest/"):
                return 200, shop.suggest(self.path[len("/suggest/"):])
            return 404, {"error": f"nothing at {self.path}"}
        except Refused as error:
            return 400, {"error": str(error)}
        except SoldOut as error:
            return 409, {"error": str(error)}
        except (Down, Problem) as error:
            return 503, {"error": str(error)}
        except sqlite3.Error as error:
            log(f"database: {error}")
            return 500, {"error": f"database: {error}"}
        except Exception as error:  # one bad request is one bad answer, never the end of the shop
            log(f"{self.command} {self.path}: {type(error).__name__}: {error}")
            return 500, {"error": f"{type(error).__name__}: {error}"}

    def send(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # metrics count requests; the log is for what went wrong


class Server(ThreadingHTTPServer):
    """Threads that a stop waits for, and a queue that fits a rush."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, shop):
        self.shop = shop
        super().__init__(("127.0.0.1", shop.config["shop"]["port"]), Handler)

    def server_bind(self):
        # HTTPServer would look our name up in the DNS, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    def handle_error(self, request, client_address):
        pass  # the client went away


def serve(root, ready):
    """Runs until SIGTERM or SIGINT; `ready()` is called once it answers. Raises `Problem` if it cannot begin."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with hold(root):
        shop = Shop(root)
        port = shop.config["shop"]["port"]
        try:
            server = Server(shop)
        except OSError as error:
            raise Problem(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
        files.replace(root / "run" / "port", f"{port}\n", sync=False)
        listener = threading.Thread(target=server.serve_forever, args=(0.05,))
        listener.start()
        shop.metric("start")
        log(f"listening on 127.0.0.1:{port}, pid {os.getpid()}")
        ready()

        while not stop.wait(1):
            shop.metric("tick")

        server.shutdown()
        listener.join()
        server.server_close()  # waits for the requests under way
        shop.close()
        shop.metric("stop")
        log("stopped")


@contextlib.contextmanager
def hold(root):
    """One shop per instance: the lock for us, the pid file for everybody else."""
    (root / "run").mkdir(exist_ok=True)
    held = None
    for _ in range(50):  # somebody who only asks whether we run holds it for a moment, too
        held = files.lock(root / "run" / "shop.lock")
        if held:
            break
        time.sleep(0.01)
    if not held:
        raise Problem("it is running already")
    pid_file = root / "run" / "shop.pid"
    with held:
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
        files.replace(pid_file, f"{os.getpid()}\n", sync=False)
        try:
            yield
        finally:
            pid_file.unlink(missing_ok=True)
