"""Questions about one stay: a question is read into a query, and the chart answers the query by computation.

No language model computes or words a number: at most it chooses a query. Nothing after the prediction time is read.
"""
