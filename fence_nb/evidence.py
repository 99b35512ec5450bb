# TEMPORARY stand-in until nbs/06_evidence.ipynb exists
import math, re
from collections import Counter, defaultdict
from fence_nb.schema import Document, Failure, Record
class ToolCall(Record):
    tool: str
    query: str
    relation: str = ""
def words(t): return re.findall(r"\w+", t.lower())
def rerank(claim, documents, k):
    if not documents: return []
    q=set(words(claim)); docs=[words(d.title+" "+d.text) for d in documents]; df=Counter(w for d in docs for w in set(d)); avg=sum(map(len,docs))/len(docs)
    s=[sum(math.log(1+(len(docs)-df[w]+.5)/(df[w]+.5))*c[w]*2.2/(c[w]+1.2*(.25+.75*len(d)/avg)) for w in q if c[w]) for d in docs for c in [Counter(d)]]
    return [documents[i] for i in sorted(range(len(docs)),key=lambda i:-s[i])[:k]]
class Mem:
    def __init__(self, docs, source):
        self.by=defaultdict(list)
        for d in docs: self.by[d.title].append(d.model_copy(update={"source":source}))
    def __call__(self, call):
        for name in self.by:
            pass
        m=re.match(r"(\w+ \w+)", call.query)
        return self.by.get(m[1] if m else "",[])
class Toolbox:
    def __init__(self, tools, cache=None, top=5): self.tools,self.top=tools,top
    def fetch(self, calls, claim):
        docs=[]; fails=[]
        for c in calls:
            try: docs+=self.tools[c.tool](c)
            except Exception as e: fails.append(Failure(stage="evidence",item_id="",reason="tool",detail=str(e)))
        return rerank(claim, list({d.text:d for d in docs}.values()), self.top), fails
