"""Questions about one stay in free text, over several turns: what may be asked, what is meant, and the chart's answer.

No language model computes or words an answer: a question is read into a ``Query`` by the rules of
``configs/questions``, and ``clinragen.questions`` answers it from the chart. Nothing here trains or reads another
stay.
"""
