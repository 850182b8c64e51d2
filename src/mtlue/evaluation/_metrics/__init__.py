"""What is measured for each kind of task, and how much of it was learned."""

from mtlue.evaluation._metrics.headline import HEADLINES, Headline, headline, residual_learnability
from mtlue.evaluation._metrics.kinds import metrics_for

__all__ = ["HEADLINES", "Headline", "headline", "metrics_for", "residual_learnability"]
