"""Several devices at one run: who handles which rows of a batch, and what the processes tell each other.

Every process holds all of the data and does the whole run, but pushes its own share of each batch alone through the
networks. Embeddings are then gathered, so that matches, triplets, terms and alarms see the whole batch in each process,
and come out the same in each.
"""
