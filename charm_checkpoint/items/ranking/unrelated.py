"""Questions and sentences of which none has to do with another: what a model says of them is its background."""

from __future__ import annotations

from typing import Final, NamedTuple


class Pairs(NamedTuple):
    """Each of the questions stands against each of the sentences."""

    questions: tuple[str, ...]
    sentences: tuple[str, ...]


PAIRS: Final = Pairs(
    questions=(
        "What is the name of Laura's dog?",
        "When does my passport expire?",
        "Which database did we choose for the billing service?",
        "How much milk goes into the pancake batter?",
        "Where did Tom hurt his knee?",
        "What colour should the kitchen walls be?",
        "Who teaches the evening pottery course?",
        "Do I take the tablets before or after breakfast?",
        "How many subscribers does the newsletter have?",
        "Which platform does the train to Lyon leave from?",
        "What did the tax office want from us?",
        "When is grandmother's eightieth birthday?",
        "Which tyres fit the old bicycle?",
        "Why was the deployment rolled back last night?",
        "What is the password hint for the router?",
        "Which novel did the book club pick for May?",
        "How often should the orchids be watered?",
        "Who plays the drums in the school band?",
        "What was the final score of the match in Turin?",
        "How long is the warranty on the washing machine?",
        "Which constellation did we see from the beach?",
        "What does the landlord say about subletting?",
        "Is the conference talk in English or in German?",
        "What should I bring to the sailing weekend?",
    ),
    sentences=(
        "The museum of maritime history is closed on Mondays in winter.",
        "Our cat is afraid of thunder and hides in the wardrobe.",
        "She prefers the font to be larger on the slides of the quarterly report.",
        "The bakery on the corner sells rye loaves from seven o'clock.",
        "My brother moved to Toronto and works as a nurse.",
        "Use tabs instead of spaces in the Makefile.",
        "The chess tournament was won by a girl of eleven years.",
        "He is allergic to peanuts and carries an injector.",
        "Prices of copper fell after the strike at the mine ended.",
        "The hotel room had a view of the harbour and a noisy lift.",
        "Turn the compost every two weeks so that it does not rot.",
        "The violin needs a new bow before the audition.",
        "A heat pump was installed in the cellar in October.",
        "The recipe of the soup asks for ginger, carrots and a lime.",
        "Invoices are sent on the last working day of the month.",
        "The children collected shells and built a castle of sand.",
        "I run ten kilometres along the river on Sunday mornings.",
        "The parser fails on files with carriage returns.",
        "Their wedding photographs are in the blue album.",
        "The dentist recommended a softer brush.",
        "Volcanic ash stopped all flights over Iceland for a week.",
        "The jury found the defendant not guilty.",
        "A firmware update fixed the flickering of the lamp.",
        "Our neighbour keeps bees on the roof of the garage.",
    ),
)
