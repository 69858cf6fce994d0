"""What is searched, and the questions with the sentence that answers each."""

from __future__ import annotations

SENTENCES = (
    "The kettle switches itself off when the water boils.",
    "A red fox crossed the frozen lake at dawn.",
    "Interest rates were raised by a quarter of a point on Thursday.",
    "The night train to Vienna leaves from platform nine.",
    "She tuned her violin before the second movement began.",
    "Sourdough needs a warm place and a whole day to rise.",
    "The vaccine protects nine in ten patients from severe illness.",
    "Our parser reads the file once and keeps no copy of it.",
    "Heavy rain is expected along the coast until Sunday evening.",
    "The goalkeeper saved two penalties in the final.",
    "Photosynthesis turns sunlight, water and carbon dioxide into sugar.",
    "The museum is closed on Mondays and free for children.",
    "He repaired the bicycle chain with a borrowed wrench.",
    "The court ruled that the contract had never been valid.",
    "Two black holes merged more than a billion years ago.",
    "My grandmother grows tomatoes and basil on her balcony.",
    "The compiler refuses programs whose shapes cannot be known.",
    "Lisbon was almost destroyed by an earthquake in 1755.",
    "Please turn off your phone during the performance.",
    "The battery of this laptop lasts about eleven hours.",
    "Bees dance to tell each other where the flowers are.",
    "The mountain hut serves soup and has beds for twenty hikers.",
    "Unemployment fell to its lowest level in a decade.",
    "The lock opens with either a key or a six-digit code, whichever you happen to have with you, "
    "but after three wrong attempts it stays shut for an hour and sends a message to the owner.",
)

ANSWERS = {
    "When can I not visit the exhibition?": SENTENCES[11],
    "How do plants make their food?": SENTENCES[10],
    "What will the weather be like at the seaside?": SENTENCES[8],
    "central bank monetary policy": SENTENCES[2],
    "Who won the football match for us?": SENTENCES[9],
    "How do insects communicate?": SENTENCES[20],
    "baking bread at home": SENTENCES[5],
    "Is there a place for hikers to sleep?": SENTENCES[21],
    "What happens if I mistype the PIN?": SENTENCES[23],
    "astronomers observed a collision in deep space": SENTENCES[14],
}
