//! eco-prune: what goes, what stays whatever the rules say, and what is left when something goes wrong half-way.

