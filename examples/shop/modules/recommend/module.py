"""Bought together: counts pairs of items in data/recommend/pairs.json and suggests the most frequent."""
import json
import os
from itertools import combinations


class Module:
    def __init__(self, shop):
        self.shop = shop
        self.file = shop.folder / "pairs.json"
        with open(self.file, encoding="utf-8") as file:
            self.pairs = json.load(file)  # {sku: {other sku: times}}

    def learn(self, skus):
        """Takes note of one order."""
        for one, other in combinations(sorted(set(skus)), 2):
            for a, b in ((one, other), (other, one)):
                counts = self.pairs.setdefault(a, {})
                counts[b] = counts.get(b, 0) + 1
        fresh = self.file.with_suffix(".json.tmp")
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(json.dumps(self.pairs, sort_keys=True) + "\n")
        os.replace(fresh, self.file)

    def suggest(self, sku):
        """Names of what others bought with it, most frequent first."""
        names = self.shop.shared("catalog", "names") or {}
        counts = self.pairs.get(sku, {})
        best = sorted(counts, key=lambda other: (-counts[other], other))
        return [names.get(other, other) for other in best[:self.shop.config["tuning"]["recommendations"]]]

    def check(self):
        for sku in list(self.pairs)[:1]:
            assert self.suggest(sku), f"nothing goes with {sku}"
