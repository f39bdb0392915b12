"""From MLflow to tables, figures and MLflow's own pages. Nothing here trains, and nothing imports models."""
