"""Ranking of items for a question: words, trigrams and vectors, scored the same on every store; pure, no I/O."""

from __future__ import annotations

from charm_checkpoint.items.ranking.entries import Parsed as Parsed
from charm_checkpoint.items.ranking.entries import read_entry as read_entry
from charm_checkpoint.items.ranking.entries import write_entry as write_entry
from charm_checkpoint.items.ranking.index import ScopeIndex as ScopeIndex
from charm_checkpoint.items.ranking.models import PAIRS as PAIRS
from charm_checkpoint.items.ranking.models import Model as Model
from charm_checkpoint.items.ranking.models import calibrate as calibrate
from charm_checkpoint.items.ranking.questions import Parts as Parts
from charm_checkpoint.items.ranking.questions import Question as Question
from charm_checkpoint.items.ranking.questions import Ranked as Ranked
from charm_checkpoint.items.ranking.scores import Ranking as Ranking
