"""Named rules: which events are worth knowing, by name.

The text of a rule becomes events' verdicts in these steps, a module each:

    tokens, syntax   text -> tree, with the place of each part
    attributes       the one table of what a condition can compare, and where events have it
    sets             the values that a comparison accepts, and what follows from them
    resolve          tree -> comparisons whose types are right, lists and macros filled in
    load             the sections of a configuration -> a rule set, and all that is wrong with them
    plain            rule set -> bytes -> rule set: from the process that reads a configuration to netmon
    match            rule set and values -> the rules that match
    judge            events, in their order -> verdicts: a close follows its opening
    apply            verdicts -> the events that are reported, with their rules

A run without rules imports none of them.
"""
