"""config/*.json as one checked value."""
from .files import Problem, read_json

FILES = ("shop", "modules", "limits", "shipping", "tuning", "optimizations")


def load(root):
    """{file: its content}, with the applied optimizations laid over it.

    An optimization names the value that it changes and lives beside it, so rolling back
    the folder can never leave one that says "applied" over a value that is not.
    """
    folder = root / "config"
    if not (folder / "shop.json").exists():
        raise Problem(f"no config/shop.json in {root}: make an instance with: shop setup DEST")
    config = {name: read_json(folder / f"{name}.json") for name in FILES}
    for name, content in config.items():
        need(isinstance(content, dict), name, "must be an object")

    shop = config["shop"]
    need(is_count(shop.get("port")) and shop["port"] < 65536, "shop", "port must be 1..65535")
    need(is_number(shop.get("tax")) and 0 <= shop["tax"] < 1, "shop", "tax must be a share, 0..1")
    need(isinstance(shop.get("features"), dict), "shop", "features must be an object")
    for name, module in config["modules"].items():
        need(isinstance(module, dict) and isinstance(module.get("enabled"), bool), "modules",
             f"{name}.enabled must be true or false")
    for name in ("max_lines", "max_quantity", "max_body_bytes"):
        need(is_count(config["limits"].get(name)), "limits", f"{name} must be a positive number")
    for name in ("flat_cents", "free_from_cents"):
        need(is_count(config["shipping"].get(name)), "shipping", f"{name} must be a positive number")
    need(isinstance(config["shipping"].get("countries"), list), "shipping", "countries must be a list")
    need(is_count(config["tuning"].get("recommendations")), "tuning", "recommendations must be a positive number")

    for name, change in config["optimizations"].items():
        try:
            target, key, after = config[change["file"]], change["key"], change["after"]
            known = key in target
        except (KeyError, TypeError):
            known = False
        need(known, "optimizations", f"{name} changes a value that does not exist")
        if change.get("applied"):
            target[key] = after
    return config


def need(condition, name, sentence):
    if not condition:
        raise Problem(f"config/{name}.json: {sentence}")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
