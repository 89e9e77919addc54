"""Whom we deliver to, and the receipts: data/checkout/receipts.jsonl, one line for each order."""
import json


class Module:
    def __init__(self, shop):
        self.shop = shop
        self.receipts = shop.folder / "receipts.jsonl"

    def prepare(self, order, country):
        """The order, ready to be filed."""
        countries = self.shop.config["shipping"]["countries"]
        if country not in countries:
            raise self.shop.Refused(f"we deliver to {', '.join(countries)} only")
        return {**order, "country": country}

    def receipt(self, order_id, order):
        with open(self.receipts, "a", encoding="utf-8") as file:
            file.write(json.dumps({"order": order_id, "time": order["time"], "country": order["country"],
                                   "total_cents": order["total_cents"], "tax_cents": order["tax_cents"]}) + "\n")

    def check(self):
        home = self.shop.config["shipping"]["countries"][0]
        assert self.prepare({"total_cents": 1}, home)["total_cents"] == 1, "the sum changed on the way"
        assert self.receipts.parent.is_dir(), "nowhere to put receipts"
