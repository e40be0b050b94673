"""What a run is judged by. Only here may target labels be seen, and what is computed with them says *oracle*."""
