"""What is for sale: data/catalog/products.json."""
import json


class Module:
    def __init__(self, shop):
        self.shop = shop
        with open(shop.folder / "products.json", encoding="utf-8") as file:
            self.by_sku = {product["sku"]: product for product in json.load(file)}
        shop.share("names", {sku: product["name"] for sku, product in self.by_sku.items()})

    def products(self):
        return list(self.by_sku.values())

    def lines(self, items):
        """What the customer wants -> order lines with name and price."""
        limits = self.shop.config["limits"]
        if not isinstance(items, list) or not 0 < len(items) <= limits["max_lines"]:
            raise self.shop.Refused(f"an order has 1 to {limits['max_lines']} items")
        return [self.line(item, limits["max_quantity"]) for item in items]

    def line(self, item, most):
        try:
            product, quantity = self.by_sku[item["sku"]], item["quantity"]
        except (KeyError, TypeError):
            raise self.shop.Refused(f"no such item: {item!r:.80}") from None
        if type(quantity) is not int or not 0 < quantity <= most:
            raise self.shop.Refused(f"quantity of {product['sku']} must be 1 to {most}")
        return {"sku": product["sku"], "name": product["name"], "quantity": quantity,
                "price_cents": product["price_cents"]}

    def check(self):
        lines = self.lines([{"sku": next(iter(self.by_sku)), "quantity": 1}])
        assert lines[0]["price_cents"] > 0, "something is for free"
