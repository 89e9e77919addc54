"""What an order costs: bulk discounts of data/pricing/discounts.json, shipping, and the tax within."""
import json


class Module:
    def __init__(self, shop):
        self.shop = shop
        with open(shop.folder / "discounts.json", encoding="utf-8") as file:
            self.discounts = sorted(json.load(file), key=lambda rule: -rule["from_quantity"])

    def total(self, lines):
        """Order lines -> the order with its sums, in cents; tax is contained, not added."""
        goods = sum(self.cost(line) for line in lines)
        shipping = self.shop.config["shipping"]
        freight = 0 if goods >= shipping["free_from_cents"] else shipping["flat_cents"]
        total = goods + freight
        tax = self.shop.config["shop"]["tax"]
        return {"lines": lines, "goods_cents": goods, "shipping_cents": freight, "total_cents": total,
                "tax_cents": round(total - total / (1 + tax))}

    def cost(self, line):
        full = line["quantity"] * line["price_cents"]
        for rule in self.discounts:
            if line["quantity"] >= rule["from_quantity"]:
                return full * (100 - rule["percent"]) // 100
        return full

    def check(self):
        one, many = (self.total([{"quantity": n, "price_cents": 1000}])["goods_cents"] for n in (1, 100))
        assert one == 1000 and 0 < many <= 100 * one, "prices do not add up"
