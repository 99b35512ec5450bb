"Wikitext: what stands in templates, in several languages, and what is counted as left out."

from collections import Counter
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence_nb.evidence.kb import KnowledgeBase
from fence_nb.evidence.wikipedia import build_from
from fence_nb.evidence.wikitext import ENGLISH_SITE, plain_text, read_template, redirect_target, template_text

pytest.importorskip("mwparserfromhell", reason="the kb extra reads wikitext")

TEMPLATES = [
    ("{{convert|12|km|mi|abbr=on}}", "12 km"),
    ("{{Convert|3|to|5|km}}", "3 to 5 km"),
    ("{{convert|5|ft|10|in|cm}}", "5 ft 10 in"),
    ("{{cvt|7.5|sqmi}}", "7.5 sq mi"),
    ("{{formatnum:1234567}}", "1,234,567"),
    ("{{formatnum:1900}}", "1900"),
    ("{{circa|812}}", "c. 812"),
    ("{{c.|812|830}}", "c. 812 – c. 830"),
    ("{{fl.|812}}", "fl. 812"),
    ("{{reign|812|830}}", "r. 812–830"),
    ("{{lang|fr|la mer}}", "la mer"),
    ("{{lang-fr|la mer}}", "la mer"),
    ("{{langx|fr|la mer}}", "la mer"),
    ("{{transl|ru|ISO|more}}", "more"),
    ("{{nowrap|in [[Velm (town)|Velm]]}}", "in [[Velm (town)|Velm]]"),
    ("{{nobr|a=b c}}", "a=b c"),
    ("{{small|(old)}}", "(old)"),
    ("{{abbr|TV|television}}", "TV"),
    ("{{val|1.5|u=kg}}", "1.5 kg"),
    ("{{val|1.5|0.2|e=3|u=m|up=s}}", "1.5 ± 0.2 × 10^3 m/s"),
    ("{{frac|4}}", "1/4"),
    ("{{frac|2|1|4}}", "2 1/4"),
    ("{{sfrac|3|4}}", "3/4"),
    ("{{math|x {{=}} 2}}", "x = 2"),
    ("{{birth date and age|1950|3|1}}", "March 1, 1950"),
    ("{{birth date|1950|3|1|df=yes}}", "1 March 1950"),
    ("{{death date and age|1988|5|7|1901|3|1}}", "May 7, 1988"),
    ("{{start date|1931}}", "1931"),
    ("{{start date|1931|5}}", "May 1931"),
    ("{{as of|2020|3}}", "As of March 2020"),
    ("{{as of|2020|lc=y}}", "as of 2020"),
    ("{{US$|3 million}}", "US$3 million"),
    ("{{£|20}}", "£20"),
    ("{{USS|Zor|CV-6}}", "USS Zor (CV-6)"),
    ("{{ill|Rosa Bly|de|Rosa Bly (Malerin)}}", "Rosa Bly"),
    ("{{nihongo|Zor|ゾル|Zoru}}", "Zor (ゾル, Zoru)"),
    ("{{hlist|Velm|Tor}}", "Velm, Tor"),
    ("{{height|ft=6|in=1}}", "6 ft 1 in"),
    ("{{ordinal|22}}", "22nd"),
    ("1931{{snd}}1940", "1931 – 1940"),
    ("{{unité|330|m}}", "330 m"),
    ("{{date|7|mai|1931}}", "7 mai 1931"),
    ("{{langue|de|der Berg}}", "der Berg"),
]


@pytest.mark.parametrize(("source", "expected"), TEMPLATES)
def test_what_a_template_says(source, expected):
    dropped = Counter()
    text = plain_text(f"It is {source} here.", dropped=dropped)
    assert text == plain_text(f"It is {expected} here.") and not dropped


def test_language_of_the_dump_decides():
    site = ENGLISH_SITE.with_names("fr", {6: "Fichier", 14: "Catégorie"})
    text = "Né le {{birth date|1950|3|1}}, {{formatnum:1234567}} lecteurs au {{s|XX}}.\n[[Catégorie:Poète]]"
    assert plain_text(text, site) == "Né le 1950-03-01, 1234567 lecteurs au XXe siècle."


QUOTES = [
    "{{quote|It stands.|Ort}}",
    "{{blockquote|text=It stands.|author=Ort}}",
    "{{cquote|quote=It stands.|sign=Ort}}",
]


@pytest.mark.parametrize("quote", QUOTES)
def test_quotations_are_paragraphs(quote):
    assert plain_text(f"He wrote:\n{quote}\nThat was all.").splitlines() == [
        "He wrote:",
        "It stands.",
        "Ort",
        "That was all.",
    ]


def test_formulas_stay():
    text = r"The law is <math display=inline>\frac{a}{{b}}</math> and <chem>H2O</chem> boils. <nowiki>{{x}}</nowiki>"
    assert plain_text(text) == r"The law is \frac{a}{{b}} and H2O boils. {{x}}"


def test_what_is_left_out_is_counted():
    dropped = Counter()
    text = """{{Infobox_town |name=Velm |map={{Map|1}}}}Velm{{IPA|vɛlm}} is old.<ref>A.</ref><REF name="b"/> {{map|2}}
<gallery>
File:A.jpg|The port
</gallery>
{| class="navbox"
| a || {| b
|}
|}"""
    assert plain_text(text, dropped=dropped) == "Velm is old."
    assert dropped == {"infobox town": 1, "map": 2, "ipa": 1, "<ref>": 2, "<gallery>": 1, "table": 2}
    assert plain_text("") == ""


def test_an_open_reference_takes_no_text():
    assert plain_text("It is old.<ref>Ort. It is red.\n\nIt is long.<ref>A.</ref>").splitlines()[-1] == "It is long."


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("#REDIRECT [[Velm]]", "Velm"),
        ("#redirect[[Velm#Port]]", "Velm#Port"),
        ("#WEITERLEITUNG [[Velm]]", "Velm"),
        ("#перенаправление [[Велм]]", "Велм"),
        ("#転送 [[ヴェルム]]", "ヴェルム"),
        ("#重定向 [[维尔姆]]", "维尔姆"),
        ("#REDIRECCIÓN [[Velm]] {{x}}", "Velm"),
        ("# [[Velm]] is first", ""),
        ("Velm", ""),
    ],
)
def test_redirects(text, target):
    assert redirect_target(text) == target


SITES = [  # database, name of files, name of categories
    ("dewiki", "Datei", "Kategorie"),
    ("frwiki", "Fichier", "Catégorie"),
    ("ruwiki", "Файл", "Категория"),
    ("jawiki", "ファイル", "Category"),
    ("zhwiki", "File", "Category"),
    ("arwiki", "ملف", "تصنيف"),
    ("hiwiki", "चित्र", "श्रेणी"),
    ("elwiki", "Αρχείο", "Κατηγορία"),
    ("trwiki", "Dosya", "Kategori"),
    ("kowiki", "파일", "분류"),
]


@pytest.mark.parametrize(("database", "files", "categories"), SITES)
def test_a_dump_in_its_own_language(tmp_path, database, files, categories):
    wikitext = (
        f"[[{files}:A.jpg|mini|Hafen]]'''Velm''' {{{{convert|3|km}}}} {{{{Zzz|1}}}}.\n[[{categories}:X]]\n[[en:Velm]]"
    )
    (tmp_path / "dump.xml").write_text(
        f"""<mediawiki><siteinfo><dbname>{database}</dbname><namespaces>
<namespace key="-1">Special</namespace><namespace key="0"/><namespace key="6">{files}</namespace>
<namespace key="14">{categories}</namespace></namespaces></siteinfo>
<page><title>Velm</title><ns>0</ns><revision><text>{escape(wikitext)}</text></revision></page>
<page><title>Welm</title><ns>0</ns><revision><text>#REDIRECT [[Velm]]</text></revision></page>
<page><title>{categories}:X</title><ns>14</ns><revision><text>X</text></revision></page></mediawiki>""",
        encoding="utf-8",
    )
    counts = build_from(tmp_path / "dump.xml", tmp_path / "kb.db")
    kb = KnowledgeBase(tmp_path / "kb.db")
    assert (counts["pages"], counts["redirects"], counts["other"]) == (1, 1, 1)
    assert [d.text for d in kb.lookup("Welm")] == ["Velm 3 km ."]
    assert kb.dropped() == {"zzz": 1}


def test_counts_of_a_killed_build_go_on(tmp_path, monkeypatch):
    page = "<page><title>P{n}</title><ns>0</ns><revision><text>Words. {{{{zzz}}}}</text></revision></page>"
    source = tmp_path / "dump.xml"
    source.write_text("<mediawiki>" + "".join(page.format(n=n) for n in range(9)) + "</mediawiki>")
    from fence_nb.evidence import wikipedia

    store = wikipedia._store

    def killed(writer, page):
        if page.title == "P5":
            raise KeyboardInterrupt
        store(writer, page)

    monkeypatch.setattr(wikipedia, "_store", killed)
    with pytest.raises(KeyboardInterrupt):
        build_from(source, tmp_path / "kb.db", step=2)
    monkeypatch.undo()
    build_from(source, tmp_path / "kb.db", step=2)
    assert KnowledgeBase(tmp_path / "kb.db").dropped() == {"zzz": 9}


pieces = st.sampled_from(
    [
        "{{",
        "}}",
        "{|",
        "|}",
        "|",
        "=",
        "[[",
        "]]",
        "<ref>",
        "</ref>",
        "<math>",
        "</math>",
        "convert",
        "frac",
        "a",
        "1",
        "\n",
    ]
    + ["{{convert|", "{{quote|", "-{", "}-", "<!--", "-->", "'''", "{", "}", ":", "File:"]
)


@given(st.lists(pieces, max_size=20).map("".join))
def test_any_markup_is_read(text):
    plain_text(text, dropped=Counter())


@given(st.lists(pieces, max_size=8).map("".join))
def test_any_template_is_read(values):
    for name in (
        "convert",
        "val",
        "frac",
        "birth date",
        "as of",
        "date",
        "nihongo",
        "ship",
        "ordinal",
        "quote",
        "height",
    ):
        template_text(read_template("{{" + f"{name}|{values}" + "}}"))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a crate of {{convert|20|x|30|x|40|cm|in}}", "a crate of 20 × 30 × 40 cm"),
        ("{{convert|1.5|e6sqmi|km2}}", "1.5 million sq mi"),
        ("10<sup>6</sup> ships, 5 m<sup>2</sup>, 3{{e|-9}} m", "10⁶ ships, 5 m², 3 × 10⁻⁹ m"),
        ("{{gaps|12|345}} of {{format price|2500000}}", "12345 of 2,500,000"),
        ("{{val|1.23|+0.1|-0.2}}", "1.23 +0.1 −0.2"),
        ("{{Template:Convert|5|km}} and {{3/4}}", "5 km and 3/4"),
    ],
)
def test_numbers_that_a_shorter_reading_would_change(text, plain):
    assert plain_text(text) == plain


def test_a_template_without_values_may_be_its_own_words():
    french = ENGLISH_SITE.with_names("fr", {})
    assert plain_text("le {{1er}} mai, au {{nombre|330|m}}", french) == "le 1er mai, au 330 m"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            """{| class="wikitable sortable"
|+ Mayors of Velm
! Name !! scope="col" | From
|-
| style="text-align:left" | [[Lena Ort|L. Ort]] || {{circa|1903}}
|-
| Ida Moor
| 1911
|}""",
            ["Mayors of Velm", "Name: L. Ort; From: c. 1903", "Name: Ida Moor; From: 1911"],
        ),
        ("{|\n! Name\n! From\n|-\n| rowspan=2 | Ort\n| 1903\n|-\n| 1911\n|}", ["Name; From", "Ort; 1903", "1911"]),
        ("{|\n! Ort\n| 1903\n|-\n! Moor\n| 1911\n|}", ["Ort; 1903", "Moor; 1911"]),
    ],
)
def test_tables_keep_their_rows(text, lines):
    dropped = Counter()
    assert plain_text(f"Velm is old.\n{text}", dropped=dropped).splitlines() == ["Velm is old.", *lines]
    assert not dropped
