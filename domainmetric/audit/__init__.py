"""What goes into a run, looked at before it starts: figures, what is known to ruin transfer, a contact sheet."""
