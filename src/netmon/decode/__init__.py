"""Turns what the kernel wrote into events. Pure: this package imports neither netmon.kernel nor ctypes.

    Batch: bytes from the ring buffer, and where each record begins
      |
      |  Decoder unpacks one record after the other              decoder.py
      |
      |-- process record ---> ProcessTable                       processes.py
      |                         keeps a KnownProcess (known_process.py) for each process id; evicts the older half
      |                         when full. Processes that differ in their ids alone share their Traits: Image and Cgroup
      |                         (images.py), whose texts are cut to the room that a line has (texts.py)
      |
      '-- connection event -> RawEvent                           raw_event.py
             |                  the record's values and the KnownProcess that its process id refers to;
             |                  for a detailed record also the further keys: a table says which   (details.py),
             |                  and functions made of it on first use read and render them   (templates.py)
             |
             |-- .json()  ->  a line of JSON                     (`netmon run`: pydantic stays unimported)
             '-- .model() ->  a NetworkEvent                     (netmon/events.py)

In aggregate mode the kernel sends process records only. It adds connections up in a table of flows, and each entry of
that becomes a FlowSummary (flows.py). Lost events become a LossReport (loss_report.py). Both have .json() and .model().

The kernel's numbers become text in format.py, its times become UTC in clock.py.
"""
