"""Learning: what programs connect to and accept, as rules; and what of later connections is outside of them.

    joining    many places that are near each other -> the place that has them all
    places     addresses and names -> their places; processes -> the comparisons that identify programs
    learner    events -> what each program does, in bounded memory
    write      that -> a configuration whose rules leave out just this
    drift      what such a configuration reports -> counts, marks, and the rules that would allow it

It is pure: neither a kernel nor a clock. The same events give the same text, in whatever order they come.
"""
