"A third domain: sixty people of the miniature have moved, and a register knows where to. One fact a person, one tool."

from fence_nb.core.records import Document, JudgedClaim, Label, Prompt
from fence_nb.domains.domain import JudgedSplit, LookupScorer, PlainDomain
from fence_nb.domains.world import World
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.models.interface import ScriptedLM

WORLD = World()  # its words are those that the miniature's base model can spell
TOWNS = WORLD.pools["town"]
HOMES = {person.name: TOWNS[rank % len(TOWNS)] for rank, person in enumerate(WORLD.people[:60])}


def page(name: str) -> list[Document]:
    return [Document(title=name, text=f"She lived in {HOMES[name]}.", source="kb")] if name in HOMES else []


def register(conversation: list[dict], sample: int, seed: int) -> str:
    "The teacher: asks for the person's page, and judges by whether the page names the town."
    question = conversation[-1]["content"]
    if question.startswith("Tools: "):
        return f'kb("{" ".join(question.split()[1:3])}")'
    documents, _, claim = question.removesuffix("\nJudge the claim.").partition("\nClaim: ")
    town = claim.rstrip(".").split()[-1]
    label = Label.SUPPORTED if town in documents else Label.CONTRADICTORY
    return f"home: the claim gives {town}.\nLabel: {label.value}"


class Movers(PlainDomain):
    name = "movers"
    offline = True
    topics = ("home",)

    def judged_claims(self, toolbox):
        rows = []
        for k, name in enumerate(HOMES):
            label = Label.SUPPORTED if k % 2 else Label.CONTRADICTORY
            town = HOMES[name] if label.supported else TOWNS[(k + 1) % len(TOWNS)]
            claim = f"{name} lived in {town}."
            rows.append(
                JudgedClaim(claim=claim, documents=page(name), supported=label.supported, label=label, topic=name)
            )
        return JudgedSplit(rows[:40], rows[40:50], shared=[])

    def questions(self, split):
        names = list(HOMES)[:4] if split == "train" else list(HOMES)[50:54]
        return [Prompt(text=f"Tell me a bio of {name}.", topic=name, split=split) for name in names]

    def toolbox(self, folder):
        return Toolbox([FunctionTool("kb", 'kb("name")', lambda call: page(call.query))])

    def teacher(self):
        return ScriptedLM(register, name="register")

    def gold_scorer(self, splitter):
        listed = {f"{name} lived in {town}." for name, town in HOMES.items()}
        return LookupScorer(splitter, self.prompts, listed.__contains__, "the register")

    def claim_topic(self, claim):
        return "home" if "lived in" in claim.text else ""

    def places(self):
        return dict.fromkeys(list(HOMES)[50:54], "NR")
