"""The control socket of a run: who may ask for what, its answers, and the metrics that are made of them."""
