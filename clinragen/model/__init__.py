"""Series encoder, knowledge-augmented attention over the concept graph, language model, diagnosis head."""
