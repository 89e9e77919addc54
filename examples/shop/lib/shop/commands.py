"""The words of bin/shop. Imports wait until a command needs them: start and stop are in somebody's downtime."""
import argparse
import json
import os
import sys
from pathlib import Path

from .files import Problem

NOTE = "Every command but setup works on the instance that this program lies in."


def words():
    parser = argparse.ArgumentParser(prog="shop", description="A small shop to run, break and roll back. " + NOTE)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name, act, summary):
        added = verbs.add_parser(name, help=summary, description=summary)
        added.set_defaults(act=act)
        return added

    setup = verb("setup", do_setup, "make an instance in DEST, absent or an empty folder")
    setup.add_argument("dest", type=Path, metavar="DEST")
    setup.add_argument("--port", type=int, help="on 127.0.0.1 (default: a free one)")
    serve = verb("serve", do_serve, "run in the foreground")
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    verb("start", do_start, "run in the background; returns once it answers")
    verb("stop", do_stop, "end it; returns once it is gone")
    verb("health", do_health, "print what the running shop says about itself")
    order = verb("order", do_order, "place orders")
    order.add_argument("count", type=int, nargs="?", default=1, metavar="N")
    order.add_argument("--parallel", type=int, default=1, metavar="N", help="so many customers at once")
    spoil = verb("break", do_break, "break it, in one of many ways; README.md has them all")
    spoil.add_argument("kind", metavar="KIND", help="config, data, module ID, degraded ID, automation ID, optimization ID, "
                       "experiment ID, slow MILLISECONDS, errors PERCENT, cpu, kill, hang or port")
    spoil.add_argument("what", nargs="?", metavar="WHAT", help="which one, or how much")
    return parser


def main(root):
    parser = words()
    args = parser.parse_args()
    if args.verb == "break":
        from .breakage import KINDS
        if args.kind not in KINDS:
            parser.error(f"no way to break it is called {args.kind!r}; there are: {', '.join(KINDS)}")
        if bool(wanted := KINDS[args.kind][1]) != bool(args.what):
            parser.error(f"break {args.kind} needs {'an ' if wanted == 'ID' else ''}{wanted or 'no more words'}")
    try:
        if args.verb != "setup" and (root / "template").is_dir():
            raise Problem("this is the source; make an instance first: shop setup DEST")
        return args.act(root, args) or 0
    except (Problem, OSError) as error:
        why = f"{error.filename}: {error.strerror}" if getattr(error, "filename", None) else error
        print(f"shop: cannot {args.verb}: {why}", file=sys.stderr)
        return 1


def do_setup(root, args):
    from .setup import setup
    dest = Path(os.path.abspath(args.dest))
    print(f"{dest}: ready, port {setup(root, dest, args.port)}")


def do_serve(root, args):
    from .server import serve
    os.chdir(root)
    if args.ready_fd is None:
        return serve(root, lambda: None)
    with os.fdopen(args.ready_fd, "w") as mouth:  # `shop start` listens at the other end
        def ready():
            mouth.write("ready\n")
            mouth.close()
        try:
            return serve(root, ready)
        except (Problem, OSError) as error:
            if not mouth.closed:
                mouth.write(str(error))
            raise


def do_start(root, args):
    from . import control
    print(f"running, pid {control.start(root)}")


def do_stop(root, args):
    from . import control
    pid = control.stop(root)
    print(f"stopped, it was pid {pid}" if pid else "it was not running")


def do_health(root, args):
    from . import control
    status, body = control.ask(root, "GET", "/health")
    if status != 200:
        raise Problem(body if status is None else body.get("error"))
    print(json.dumps(body))


def do_order(root, args):
    import random
    from concurrent.futures import ThreadPoolExecutor

    from . import control
    status, body = control.ask(root, "GET", "/products")
    if status != 200:
        raise Problem(body if status is None else body.get("error"))
    skus = [product["sku"] for product in body["products"]]
    rng = random.Random(args.count)
    baskets = [[{"sku": sku, "quantity": rng.randint(1, 3)} for sku in rng.sample(skus, rng.randint(1, 3))]
               for _ in range(args.count)]
    with ThreadPoolExecutor(args.parallel) as customers:
        answers = list(customers.map(lambda items: control.ask(root, "POST", "/orders", {"items": items}), baskets))
    ids = [answer["id"] for status, answer in answers if status == 201]
    why = next((answer if status is None else answer["error"] for status, answer in answers if status != 201), None)
    result = {"placed": len(ids), "failed": len(answers) - len(ids), "last_id": max(ids, default=None)}
    print(json.dumps({**result, "error": why} if why else result))
    return 1 if why else 0


def do_break(root, args):
    from .breakage import KINDS
    KINDS[args.kind][0](root, *([args.what] if args.what else []))
    print(f"broken: {args.kind}{' ' + args.what if args.what else ''}")
