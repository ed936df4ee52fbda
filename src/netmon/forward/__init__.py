"""Sends events to a collector over the network: `netmon forward`, a process of its own without privileges.

It reads the socket that `netmon run --output unix:PATH` serves, keeps events in a bounded store until the collector has
taken them, and reads no more while the store is full. So what waits is bounded everywhere, and what finds no room is
lost, and counted, at one place: in netmon, which tells it where it is missing.
"""
