"A llama.cpp server in a process of its own: python llama_server.py FILE; prints its address, ends with its input."

import sys

import xllamacpp

settings = xllamacpp.CommonParams()
settings.model.path = sys.argv[1]
settings.n_ctx = 4096
settings.n_parallel = 2  # they share the context
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
settings.verbosity = 0
server = xllamacpp.Server(settings)
print(server.listening_address, flush=True)
sys.stdin.read()
del server
