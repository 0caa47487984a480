"""A language model as prescriber: what it is shown of a chart, what it is told beside it, and how its list is read.

It is reached as teachers are, under the same privacy policy and with a journal of all answers.
"""
