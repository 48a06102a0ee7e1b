"""Words that say nothing about what a text is about, of several languages.

A word that is one of these in one language and has a meaning in another (the German "war", "die" and "hat", the
French "pour" and "son", the Spanish "come") is left out: to keep a stop word costs little, to lose a word is wrong.
"""

from __future__ import annotations

from typing import Final

_ENGLISH = """
a an the this that these those there here
i me my mine myself you your yours yourself he him his himself she her hers herself it its itself
we us our ours ourselves they them their theirs themselves one ones
who whom whose which what when where why how
am is are was were be been being do does did doing done have has had having
will would shall should can could may might must ought cannot
and or but nor if then else than because so as while until although though unless whether
of at by for with about against between into through during before after to from in on onto upon out off over
under above below again further once up down within without among across toward towards via per
not no yes any some all both each every either neither such same other another own only just also too very more most
much many few less least even still yet ever never already always often quite rather really
get gets got let lets please tell ok okay oh hi hello
s t d m ll re ve
"""

_GERMAN = """
der das den dem des ein eine einen einem einer eines und oder aber nicht kein keine keinen ich du er sie es wir ihr
mich mir dich dir ihn ihm uns euch ihnen mein meine meinen dein deine sein seine ihre unser unsere ist sind bin bist
sei waren wird werden wurde wurden habe haben hatte hatten kann kann konnte soll sollte muss zu zum zur von vom
bei mit nach aus auf im ins auch noch schon nur sehr wie wo wann warum wer wen wem welche welcher welches dass wenn
weil als ob denn dann doch ja nein
"""

_FRENCH = """
le la les un une des du de et ou mais ne pas je tu il elle nous vous ils elles se ce cet cette ces mes tes ses
notre votre leur leurs est sont suis es sommes etre été avoir ai avons avez ont avait dans sur sous avec sans chez
qui que quoi quel quelle quels quelles quand où pourquoi comme aussi très c j l n qu
"""

_SPANISH = """
el los las lo unos unas y o pero yo él ella nosotros ellos ellas mi mis tu tus su sus nuestro nuestra es soy eres
somos era fue ser estar está están estoy ha han hay del al con sin por para qué quién cuándo dónde cómo cuál
muy también ya se me te nos
"""

_ITALIAN_AND_PORTUGUESE = """
il gli uno una di da nel nella della dello degli delle che chi cosa quando dove perché sono sei siamo è ho hai abbiamo
hanno mio mia suo sua anche molto não os um uma dos em na no nas nos ao aos à às e eu ele ela você eles elas meu minha
seu sua foi são está estão tem têm quem quando onde qual também muito
"""

_DUTCH_AND_SCANDINAVIAN = """
het een en niet ik jij hij zij wij zijn heb heeft hebben waar wat wie wanneer ook naar voor och att det som inte jag du
han hon vi de är og ikke jeg
"""

_RUSSIAN = """
и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее мне было вот от меня о из ему
когда ли если или ни быть был него до вас уже вам ведь там где кто это мой моя мои твой для мы их чем была
"""

STOP_WORDS: Final = frozenset(
    " ".join(
        (
            _ENGLISH,
            _GERMAN,
            _FRENCH,
            _SPANISH,
            _ITALIAN_AND_PORTUGUESE,
            _DUTCH_AND_SCANDINAVIAN,
            _RUSSIAN,
        )
    ).split()
)
