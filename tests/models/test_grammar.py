"A form as a grammar says what its regular expression says."

import pytest

from fence_nb.models.dialects import regex_grammar


@pytest.mark.parametrize(
    "regex, grammar",
    [
        (" ?(yes|no)", 'root ::= " "{0,1} (("yes" | "no"))'),
        (r"[^\n]{1,9}\nA: b", r'root ::= [^\n]{1,9} "\nA: b"'),
        (r'say "a" \(b\)', r'root ::= "say \"a\" (b)"'),
        (r"(- \d+\n){1,3}", 'root ::= part1{1,3}\npart1 ::= ("- " [0-9]{1,} "\\n")'),
        (r"(?=x)y", ""),
    ],
)
def test_regex_grammar(regex, grammar):
    assert regex_grammar(regex) == grammar
