"""The page that shows a run or an ablation: one HTML file with everything in it, and the embeddings beside it."""
