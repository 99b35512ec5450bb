# TEMPORARY stand-in until nbs/02_lm.ipynb exists
from dataclasses import dataclass
from pathlib import Path
@dataclass(frozen=True)
class Reply:
    text:str; finished:bool=True
class ScriptedLM:
    def __init__(self, answer, name="scripted"): self.answer, self.name = answer, name
    def generate(self, conversations, n=1, temperature=0., max_new_tokens=256, seed=0, desc=""):
        return [[Reply(self.answer(c, k, seed)) for k in range(n)] for c in conversations]
    def label_logprobs(self, conversations, options): raise NotImplementedError
class TransformersLM:
    def __init__(self, path, adapter=None, batch_tokens=16384):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        self.name=str(path)
        self.tok=AutoTokenizer.from_pretrained(path, padding_side="left")
        if Path(path,"adapter_config.json").exists():
            from peft import AutoPeftModelForCausalLM
            self.model=AutoPeftModelForCausalLM.from_pretrained(path).merge_and_unload()
        else: self.model=AutoModelForCausalLM.from_pretrained(path)
        self.model.eval(); self.batch_tokens=batch_tokens
    def render(self,c):
        cont=c[-1]["role"]=="assistant"
        return self.tok.apply_chat_template(c,tokenize=False,add_generation_prompt=not cont,continue_final_message=cont)
    def generate(self, conversations, n=1, temperature=0., max_new_tokens=256, seed=0, desc=""):
        import torch
        if not conversations: return []
        texts=[self.render(c) for c in conversations]; ids=self.tok(texts).input_ids
        order=sorted(range(len(ids)),key=lambda k:(-len(ids[k]),k)); out=[None]*len(ids); k=0; b=0
        with torch.random.fork_rng(), torch.inference_mode():
            while k<len(order):
                size=max(1,self.batch_tokens//((len(ids[order[k]])+max_new_tokens)*n)); part=order[k:k+size]; k+=size
                torch.manual_seed(seed*1000003+b); b+=1
                enc=self.tok.pad({"input_ids":[ids[i] for i in part]},return_tensors="pt")
                kw=dict(do_sample=True,temperature=temperature,top_k=0,top_p=1.) if temperature>0 else dict(do_sample=False)
                o=self.model.generate(input_ids=enc.input_ids,attention_mask=enc.attention_mask,max_new_tokens=max_new_tokens,num_return_sequences=n,eos_token_id=self.tok.eos_token_id,pad_token_id=self.tok.pad_token_id,**kw)[:,enc.input_ids.shape[1]:]
                t=self.tok.batch_decode(o,skip_special_tokens=True); fin=(o==self.tok.eos_token_id).any(1).tolist()
                for j,i in enumerate(part): out[i]=[Reply(t[j*n+m],fin[j*n+m]) for m in range(n)]
        return out
    def label_logprobs(self, conversations, options):
        import torch
        if not conversations: return []
        ids=self.tok([self.render(c) for c in conversations]).input_ids; opt=[self.tok(o).input_ids[0] for o in options]
        order=sorted(range(len(ids)),key=lambda k:len(ids[k])); out=[None]*len(ids)
        with torch.inference_mode():
            for k in range(0,len(order),128):
                part=order[k:k+128]; enc=self.tok.pad({"input_ids":[ids[i] for i in part]},return_tensors="pt")
                lp=self.model(input_ids=enc.input_ids,attention_mask=enc.attention_mask,logits_to_keep=1).logits[:,-1].log_softmax(-1)
                for j,i in enumerate(part): out[i]={o:lp[j,t].item() for o,t in zip(options,opt)}
        return out
def open_lm(spec, **kw): return TransformersLM(spec, **kw)
