"""Recordings: the kernel's raw records in a file, from which the same events can be made again, without a kernel.

    Monitor(record=path)  ---> Recorder    writer.py
    Monitor.replay(path)  ---> Recording   replay.py, over RecordingFile   reader.py

form.py says what a recording is made of.
"""
