"""Recognises what a rewriter says in place of a request: "no change", a placeholder, a remark.

Such a text would reach the target as if the user had said it. So it is distinguished from a request
here, sentence by sentence, in twelve languages (`refusals.is_refusal` recognises refusals). Whether
a sentence asks for something does not matter here: every question is a request, and so is every
sentence that is not known as a remark.
"""

import re
from functools import lru_cache
from typing import Final, Literal

from vlmguard.guard.text.normal_forms import normal_form

__all__ = ["is_blank", "is_placeholder", "kind_of", "says_nothing"]

Kind = Literal["request", "unchanged", "remark"]

# Names that a model may use for the request. Names in languages without spaces are further down.
_REQUEST: Final = (
    r"(?:request|prompt|question|query|message|input|instruction|wording"
    r"|anfrage|frage|aufforderung|eingabe|nachricht"
    r"|requ[eê]te|demande|invite|message"
    r"|solicitud|petici[oó]n|pregunta|consulta|mensaje|indicaci[oó]n"
    r"|richiesta|domanda|messaggio|pedido|solicita[cç][aã]o|pergunta|mensagem"
    r"|запрос|вопрос|промпт|сообщение|просьба|الطلب|السؤال|الموجه|طلب|अनुरोध|प्रश्न|सवाल|प्रॉम्प्ट)"
)
_THE: Final = (
    r"(?:(?:the|this|that|your|my|any|an?|user's|user|original|given|above|rewritten|revised|safe|"
    r"safer|new|final|current|d(?:er|ie|as|iese[rsn]?)|originale?|urspr[uü]ngliche[rsn]?|des|"
    r"nutzers?|benutzers?|eine?|umformulierte[rsn]?|sichere[rsn]?|l[ae]s?|l(?=')|cette|ce|votre|una?|"
    r"une|du|de|l'utilisateur|reformul[eé]e?s?|initiale?|el|est[ae]|del|usuario|original|su|"
    r"reformulad[ao]|il|lo|quest[ao]|dell'utente|originale|o|a|ess[ae]|do|"
    r"этот|эта|это|данный|исходный|пользователя|هذا|هذه|यह|इस|मूल)[\s']+)*+"
)
_QUALIFIED: Final = rf"{_THE}{_REQUEST}"
_CHANGE: Final = (
    r"(?:chang\w*|modif\w*|edit\w*|adjust\w*|rewrit\w*|rephras\w*|revis\w*|alter\w*|reword\w*|"
    r"[aä]nder\w*|umformulier\w*|anpass\w*|umschreib\w*|"
    r"changement\w*|reformul\w*|r[eé][eé]crit\w*|cambi\w*|reescri\w*|riscri\w*|alter\w*|mudan\w*|"
    r"измен\w*|переформ\w*|правк\w*|تغيير\w*|تعديل\w*|बदलाव|परिवर्तन)"
)

# Sentences (small letters, no marks around them) that mean: pass the request on as it is.
_UNCHANGED: Final = (
    # English
    rf"(?:there (?:is|are|was|were) )?(?:no|not any|nothing)\b.{{0,40}}\b{_CHANGE}"
    rf"|(?:{_QUALIFIED}|it|this) (?:needs?|requires?) no\b.{{0,30}}{_CHANGE}"
    r"|no need (?:to|for) .{0,30}(?:chang|rewrit|modif|edit|rephras)"
    rf"|(?:{_QUALIFIED} |it |this )?(?:is |was |has been |remains? |stays? |left |kept |should )*"
    r"(?:unchanged|unmodified|unaltered|untouched|the same|identical)\b.{0,40}$"
    r"|(?:i (?:have |will |would |am )?)?(?:please )?(?:keep|leave|pass|left|kept|passed|send|use|"
    rf"forward|repeat|return)\w* (?:on |along )?(?:it|{_QUALIFIED})(?: on| along)?"
    r"(?: exactly| just)?(?: (?:unchanged|unmodified|as[ -]is|as it (?:is|was|stands)|verbatim|"
    r"word for word|to the assistant|in its original form))*$"
    rf"|(?:as[ -]is|same as (?:above|before|{_QUALIFIED})|same {_REQUEST}|(?:the )?same|"
    rf"(?:the )?(?:original|user's) {_REQUEST}|ditto|see above|as (?:above|before|given|stated))$"
    rf"|.{{0,60}}\b(?:{_REQUEST}|it|need)\b.{{0,30}}\b(?:does not|doesn't|need not|needn't|"
    rf"did not|didn't)\b.{{0,30}}{_CHANGE}"
    r"|(?:keep|leave|pass|forward|use) (?:as[ -]is|unchanged|as it (?:is|was|stands))$"
    rf"|{_QUALIFIED}.{{0,90}}\b(?:as[ -]is|as it (?:is|was|stands)|unchanged|word for word)$"
    r"|(?:the )?(?:text|rewrite) (?:needs? no|(?:is )?not) .{0,20}$"
    # German
    rf"|(?:es (?:ist|sind) )?(?:keine|nichts|keinerlei)\b.{{0,30}}{_CHANGE}"
    rf"|(?:{_QUALIFIED} )?(?:bleibt |ist |wird )?.{{0,20}}\b(?:unver[aä]ndert|gleich)\b.{{0,40}}$"
    rf"|(?:{_QUALIFIED}|sie|es) (?:bleibt|kann|wird).{{0,40}}\b(?:wie (?:sie|er|es) ist|so)\b"
    r".{0,20}$|wie (?:oben|gehabt|im original)$|(?:wie das )?original(?:anfrage)?$"
    # French
    rf"|(?:aucune?|pas de|rien [aà])\b.{{0,30}}{_CHANGE}"
    rf"|(?:{_QUALIFIED} )?(?:est |reste )?(?:inchang[eé]e?|identique|tel(?:le)? quel(?:le)?)\b"
    r".{0,30}$|.{0,40}\btel(?:le)? quel(?:le)?$|(?:idem|(?:comme )?ci-dessus)$"
    # Spanish, Italian, Portuguese
    rf"|(?:no|ning[uú]n|sin|nessuna?|non|n[aã]o|nenhuma?|sem|senza)\b.{{0,30}}{_CHANGE}"
    rf"|(?:{_QUALIFIED} )?.{{0,20}}\b(?:sin cambios|igual|tal cual|invariat[ao]|inalterad[ao]|"
    r"sem altera[cç][oõ]es)$|(?:lo mismo|lo stesso|o mesmo)$"
    # Russian, Arabic, Hindi
    rf"|(?:без|не требу\w*|нет|никаких)\b.{{0,30}}{_CHANGE}|{_CHANGE}.{{0,20}} не .{{0,20}}$"
    r"|(?:запрос |вопрос )?(?:оста\w+ )?без изменений$"
    rf"|(?:لا|بدون|دون|لم)\s.{{0,30}}{_CHANGE}|(?:कोई|किसी) (?:बदलाव|परिवर्तन).{{0,30}}$"
    # Chinese, Japanese, Korean
    r"|.{0,12}(?:无需|不需要|无须|不用|没有|未作|未做|不作|不做|毋需|無需)(?:任何|作|做|进行|要)?"
    r"(?:更改|修改|改动|改写|变更|变化|调整|改變|修改)|.{0,12}(?:保持|维持)(?:不变|原样|原文)"
    r"|(?:同上|原样|原文|不变|与原(?:请求|文|问题)相同|原请求|原问题)$"
    r"|.{0,20}[変变]更(?:は|の)?(?:不要|なし|必要(?:は)?(?:ありません|ない)|必要なし)"
    r"|.{0,12}そのまま.{0,12}$"
    r"|.{0,14}(?:변경|수정)(?:이|할|은)? ?(?:필요|사항)?(?:가|이|은)? ?(?:없|불필요)"
    r"|.{0,12}그대로.{0,12}$"
)

_BE: Final = (
    r"(?:is|was|are|were|has|have|had|can|cannot|can't|could|should|must|may|might|will|would|"
    r"does|doesn't|did|didn't|isn't|wasn't|seems?|appears?|carries|contains?|poses|involves|asks|"
    r"needs|requires|remains|stays|looks|raises|violates|concerns|relates|implies|seeks|wants|"
    r"presents|falls|goes|touches|describes|refers|to (?:pass|be|forward|send)|withheld|blocked|"
    r"removed|denied|refused|declined|rejected|omitted|redacted|filtered|unavailable|here|"
    r"ist|sind|war|wurde|wird|kann|darf|sollte|muss|enth[aä]lt|birgt|verst[oö][sß]+t|fragt|scheint|"
    r"zielt|bittet|zur[uü]ckgehalten|abgelehnt|blockiert|entfernt|verweigert|"
    r"est|[eé]tait|peut|ne|n'est|doit|devrait|contient|pr[eé]sente|semble|vise|porte|comporte|"
    r"demande|refus[eé]e?|bloqu[eé]e?|retenue?|supprim[eé]e?|rejet[eé]e?|"
    r"es|era|fue|puede|no|debe|deber[ií]a|contiene|presenta|parece|busca|implica|supone|pide|"
    r"rechazad[ao]|bloquead[ao]|retenid[ao]|eliminad[ao]|denegad[ao]|omitid[ao]|"
    r"[eè]|pu[oò]|non|deve|comporta|sembra|chiede|rifiutat[ao]|bloccat[ao]|"
    r"[eé]|pode|n[aã]o|cont[eé]m|recusad[ao]|"
    r"не|безопас\w*|опас\w*|вредн\w*|содерж\w*|наруша\w*|нес[её]т|отклон\w*|заблокир\w*|"
    r"является|может|должен|касается|آمن|ضار|غير|يحتوي|ينتهك|لا|محجوب|مرفوض|है|हानिकारक|सुरक्षित|"
    r"अस्वीकार\w*)"
)

# The subject is the request or its author, or the rewriter speaks about its work.
_REMARK: Final = re.compile(
    rf"{_QUALIFIED}(?: \([^)]*\))?(?: and (?:the )?image)?[\s,:]+{_BE}(?!\w)"
    rf"|(?:because|since|as|given that|due to|da|weil|puisque|comme|como|ya que|poich[eé]) "
    rf"{_QUALIFIED}(?!\w)"
    r"|(?:the|this|an?|der|die|l'|el|il|o) ?(?:user|nutzer(?:in)?|benutzer(?:in)?|utilisateur|"
    r"usuario|utente|utilizador|usu[aá]rio) (?:is|was|wants?|asks?|asked|requests?|seeks?|needs?|"
    r"has|intends?|may|might|could|should|wishes|would|seems|appears|m[oö]chte|will|fragt|bittet|"
    r"sucht|veut|demande|souhaite|cherche|quiere|pide|pregunta|busca|solicita|vuole|chiede|quer|"
    r"pede|pergunta)(?!\w)"
    r"|пользователь (?:хочет|просит|спрашивает|пытается)|المستخدم (?:يريد|يطلب|يسأل)|उपयोगकर्ता "
    r"|i(?:'ve| have| had)? (?:\w+ly )?(?:rewrote|rewritten|changed|kept|left|removed|modified|"
    rf"adjusted|passed|rephrased|reworded|withheld|blocked|made|added|decided)\b.{{0,40}}\b(?:"
    rf"{_REQUEST}|it|chang\w+|caution|warning)\b"
    r"|ich habe .{0,60}(?:umformuliert|ge[aä]ndert|angepasst|belassen|zur[uü]ckgehalten)"
    r"|j'ai (?:re|r[eé]{1,2}crit|modifi|chang|laiss|conserv|adapt|ajust)"
    r"|(?:he|hemos) (?:reformulado|reescrito|modificado|cambiado|dejado|adaptado|ajustado)"
    r"|(?:please )?(?:rewrite|rephrase|reword|reformulate) (?:it|(?:the |this )?"
    r"(?:user's |original )?(?:request|prompt))\b"
    # Refusals in languages that `is_refusal` does not know.
    r"|(?:(?:desculp\w+|lamento|sinto muito)[,.]? ?(?:mas )?)?n[aã]o (?:posso|podemos|consigo) "
    r"(?:ajud|atend|fornec|respond|auxili)"
    r"|.{0,60}(?:できません|出来ません|できかねます|いたしかねます)$"
    rf"|(?:no|not|nothing|none|without|unable|not possible|cannot|can't)\b.{{0,40}}\b(?:{_REQUEST}|"
    r"rewrit\w*|pass(?:ed)? on|applicable|available|provided|version|output)$"
    rf"|no .{{0,20}}{_REQUEST} (?:exists?|is|was|can|could|found|given|available|possible)\b"
    rf"|(?:kein\w*|nichts|nicht|aucune?|rien|sans|ning[uú]n\w*|sin|nada|nessun\w*|nenhum\w*|"
    rf"нет|без)\b.{{0,40}}(?:{_REQUEST}|umschreib\w*|zutreffend|weiter\w*|objet|aplicable|"
    r"disponible|applicabile|transmettre|reescribir|переда\w*)$"
    r"|(?:\w+ )?(?:content|response|answer|inhalt|antwort|contenu|contenido|contenuto|conte[uú]do)"
    r" (?:withheld|blocked|removed|filtered|denied|refused|declined|rejected|omitted|redacted|"
    r"detected|blockiert|entfernt|bloqu\w+|supprim\w+|eliminad\w+|bloccat\w+)"
    r"|.{0,4}(?:内容|回答)(?:已|被)"
    r"|(?:together|both|combined),? .{0,12}(?:image|request|prompt)s?\b.{0,40}\b"
    r"(?:risk|danger|harm)"
    rf"|user (?:asks|wants|requests|seeks|is asking)|{_QUALIFIED}, (?:re|um)\w+"
    rf"|(?:(?:to pass on|weiterzugebende|die weiterzugebende) {_REQUEST}"
    rf"|{_QUALIFIED} (?:que se|qui "
    r"sera|die|que ser[aá]) \w+(?: \w+)?)$"
    r"|要(?:传递|转发|传达|发送)的(?:请求|问题|提示词?)$"
    r"|(?:这|那|此)是一?[个条份]?.{0,8}(?:请求|问题|提示)$"
    r"|(?:safe|unsafe|harmful|harmless|benign|blocked|rejected|refused|approved|accepted)"
    rf" {_REQUEST}$"
    r"|(?:该|此|这个|这|本|用户的?|原|上述)?(?:请求|問題|问题|提问|提示词?|要求|請求|指令)"
    r"(?:已|被|是|不|无|没有|存在|涉及|可能|属于|可以|应|需|安全|有害|违反|含有|包含|隐去|屏蔽|拒绝)"
    r"|(?:该|此|这位|这名)?用户(?:想|要|希望|询问|请求|正在|试图|可能|要求|在)"
    r"|(?:无法|不能|没有|无)(?:可以|可)?(?:改写|重写|转发|传递|适用|提供).{0,12}$|我(?:已经?|对)?.{0,8}(?:改写|修改|保留)了"
    r"|我(?:已经?|对)(?:将|把)?.{0,12}(?:改写|修改|重写|调整|优化)"
    r"|(?:この|その|元の)?(?:リクエスト|質問|依頼|プロンプト|要求)(?:は|には|が)"
    r"|(?:ユーザー|利用者)(?:は|が)|(?:이|해당|원래)? ?(?:요청|질문|프롬프트)(?:은|는|이|에는) "
    r"|사용자(?:가|는|는)"
)

# Remarks only if nothing else is said: the same words may begin a request.
_AND_NOTHING_ELSE: Final = re.compile(
    r"(?:it|this|that|there|everything|all) (?:is|are|carries|poses|contains|has|seems|looks|"
    r"appears|can|cannot|should|must|would|could|may)\b.{0,80}\b(?:(?:un)?safe|harm\w*|risk\w*|"
    r"danger\w*|hazard\w*|fine|ok|okay|(?:il)?legal|lawful|(?:un)?ethical|(?:in)?appropriate|"
    rf"(?:un)?acceptable|permitted|allowed|benign|innocuous|{_REQUEST}|polic\w+|guidelines|"
    r"pass\w*|reject\w*|flagged|removed|rewritten|changed|wrong|refused)\b"
    r"|(?:no|not|without|nothing)\b.{0,40}\b(?:risks?|harm\w*|dangers?|hazards?|issues?|concerns?|"
    r"problems?|wrong|needed|necessary|required|found|detected|identified|possible)\b"
    r"|i (?:see|find|found|detect|identified|think|believe|would(?! (?:like|love))|will)\b"
    # An apology, and an announcement of a request that does not follow.
    r"|(?:(?:i'm|i am|we are|je suis|my|our|so|very|sincere|please accept|toutes|mes|mis|unas|"
    r"meine) ){0,3}"
    r"(?:apolog\w+|sorry|excuses|d[eé]sol[eé]e?|disculpas?|perd[oó]n|lo siento|lamento|"
    r"entschuldig\w+|verzeihung|scusa\w*)\b"
    r"|(?:抱歉|对不起|不好意思|申し訳|죄송)"
    r"|(?:here (?:is|are)|here's|voici|voil[aà]|hier (?:ist|kommt|sind)"
    r"|aqu[ií] (?:est[aá]|tienes?|va)|ecco)\b.{0,40}"
    rf"\b(?:version|versi[oó]n|fassung|versione|{_REQUEST})\b.{{0,60}}$"
    r"|(?:以下是|这是|下面是).{0,12}(?:改写|修改|重写|安全|版本|提示|请求)"
    r"|(?:the|this|both|these) (?:image|picture|photo|scene|combination)s?\b"
    r"|(?:safe|unsafe|harmful|harmless|benign|blocked|withheld|redacted|removed|denied|refused|"
    r"declined|rejected|omitted|approved|allowed|low risk|high risk|no risk)"
    r"(?=$|[,:;]| (?:to pass|and|because|as|since|due)\b)"
    r"|rewritten (?:to|so|for|as)\b|(?:warning|caution|note|risk|hazard)\b ?:"
    r"|(?:das|dies|es|das bild|das foto|hier) (?:ist|birgt|zeigt|besteht|wirkt)\b|kein(?:e|erlei)? "
    r"(?:risik|gefahr|bedenk)|(?:unbedenklich|harmlos|gef[aä]hrlich|abgelehnt|entf[aä]llt)\b"
    r"|(?:c'est|cela|ceci|l'image|la photo|il n'y a|ce n'est) |aucun (?:risque|danger)|sans danger"
    r"|(?:esto|eso|la imagen|la foto|no hay|es) |ning[uú]n (?:riesgo|peligro)|sin riesgos?"
    r"|(?:questo|l'immagine|non c'[eè]) |nessun (?:rischio|pericolo)|sem riscos?"
    r"|(?:это|на изображении|риск\w*|опасност\w*) |нет (?:риск|опасн)"
    r"|(?:图片|图像|图中|画面|此图)(?:显示|展示|中|里)|(?:没有|无|不存在).{0,6}(?:风险|危险|问题)"
    r"|(?:安全|有害|无害|危险|已拒绝|已屏蔽|无风险)"
    r"|(?:特に)?(?:問題|リスク|危険)(?:は|が)?(?:ありません|ない|なし)|위험(?:이|은)? 없"
)
_OFFER: Final = re.compile(
    r"(?:how (?:can|may) i (?:help|assist) you|(?:would|do) you (?:like|want) me to"
    r"|is there (?:anything|something) else|let me know|feel free to|can i help you)\b"
)

# The whole text, in brackets or not.
_NOTHING: Final = re.compile(
    r"(?:n\.?/?a|none|null|nil|nan|undefined|empty|blank|tbd|todo|xxx+|pass|skip|ok(?:ay)?|yes|no|"
    r"block|allow|deny|done|stop|error|true|false|\d{1,3}(?:\.\d+)?|placeholder|"
    r"lorem ipsum\b.*|text|string|output|"
    r"keine?|nein|ja|leer|entf[aä]llt|nicht zutreffend|k\.? ?a|aucune?|n[eé]ant|s/?o|sans objet|"
    r"oui|non|vide|ning[uú]n[ao]?|nada|no aplica(?:ble)?|s[ií]|vac[ií]o|nessun[ao]|nulla|vuoto|"
    r"nenhum[a]?|н/?д|нет|да|пусто|неприменимо|"
    r"无|無|略|空|否|是|不适用|没有|なし|該当なし|無し|없음|해당 없음|"
    r"لا شيء|لا ينطبق|لا يوجد|कुछ नहीं|लागू नहीं)"
)
_FORM: Final = re.compile(
    rf"(?:(?:insert|write|put|enter|place|add|type|paste|copy|your|the|an?|my|new|rewritten|revised|"
    r"improved|safe|safer|safely|final|original|actual|user's|user|same|optimi[sz]ed|modified|"
    r"updated|rephrased|reworded|full|complete|here|goes|comes|to|pass|on|in|into|of|for|and|text|"
    r"version|content|hier|einf[uü]gen|eintragen|steht|die|der|das|den|neue[rsn]?|sichere[rsn]?|"
    r"umformulierte[rsn]?|umgeschriebene[rsn]?|[uü]berarbeitete[rsn]?|weitergegebene[rsn]?|"
    r"originale?|ins[eé]rez|[eé]crivez|ici|l[ae]|votre|reformul[eé]e?|r[eé][eé]crite?|[aà]|transmettre|"
    r"nouvelle|nouveau|s[uû]re?|inserte?|inserta|escrib[ae]|aqu[ií]|el|su|tu|nuev[ao]|segur[ao]|"
    r"reformulad[ao]|reescrit[ao]|para|transmitir|inserisci|qui|il|riformulat[ao]|riscritt[ao]|"
    rf"insira|aqui|вставьте|сюда|здесь|переписанный|новый|безопасный|assistant|what|other|reads"
    rf"|{_REQUEST}s?)(?:[\s'_-]+|$))++"
    r"|(?:在此|在这里|请在此)?(?:插入|填写|输入|此处|这里)?(?:为|是|的)?(?:改写|重写|修改|优化|新|安全)?(?:后|过)?的?"
    r"(?:提示词?|请求|问题|内容|文本)(?:放在?)?(?:这里|此处|在此)?"
    r"|(?:ここに)?(?:書き換え(?:た|後の)?|修正(?:した|後の)?|新しい)?(?:プロンプト|リクエスト|質問)(?:を入力|をここに)?"
    r"|(?:여기에 )?(?:수정된|다시 작성된|새로운)? ?(?:프롬프트|요청|질문)(?:을 입력)?"
)
_PAIRS: Final = {"[": "]", "{": "}", "<": ">", "(": ")", "【": "】", "「": "」", "«": "»"}
_QUOTES: Final = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "ʼ": "'"})
_ENDS: Final = "?!.。;؟।"
_SENTENCE: Final = re.compile(rf"[^{_ENDS}\n]+[{_ENDS}]*|[{_ENDS}]+")
_CLAUSE: Final = re.compile(
    r"[,:，：、] ?(?:(?:so|therefore|thus|hence|and|also|daher|deshalb|donc|alors|por lo tanto|"
    r"as[ií] que|因此|所以|故) ?)?"
)
_LABEL: Final = re.compile(
    r"(?:comments?|notes?|remarks?|rewrite|explanation|reason(?:ing)?|status|decision|verdict|"
    r"anmerkung|hinweis|kommentar|begr[uü]ndung|remarque|commentaire|nota|comentario|commento|"
    r"注意?|备注|说明|примечание)\s*[:：]\s*"
)
_EDGES: Final = " \t\r\n\"'`*_~#|-–—•:,$%"
_LONGEST_REMARK: Final = 600
_LONGEST_FORM: Final = 120
_DEEPEST: Final = 3

# What stands in the place of an addition that is not needed.
_NONE_NEEDED: Final = re.compile(
    r"(?:none|nothing|n/?a|no (?:(?:further|special|additional|safety) )?"
    r"(?:guidance|addition|advice|note|caution|warning|risk|hazard|danger)s?"
    r"(?: (?:is |are )?(?:needed|required|necessary|found))?"
    r"|keine?|nichts|aucune?|rien|ning[uú]n[ao]|nada|nessun[ao]|niente|nenhuma?|нет|ничего"
    r"|无|無|没有|なし|없음)"
)

# A name of what should stand here: `{safety_prompt}`, `<intent>`, `[your new answer]`.
_SLOT: Final = re.compile(
    r"(?:\[[^\W\d][\w '-]*\]|\{+[^\W\d][\w '-]*\}+|<[^\W\d][\w '-]*/?>|【\w+】)"
)
_UNKNOWN: Final = re.compile(
    r"(?:unknown|unclear|unspecified|not (?:known|clear|specified|stated|given|applicable|provided)"
    r"|no (?:\w+ ){0,2}(?:prompt|intent)s?(?: (?:is )?(?:needed|required|necessary))?|keine angabe"
    r"|unbekannt|unklar|inconnue?|desconocid[ao]|sconosciut[ao]|desconhecid[ao]|неизвестно|неясно"
    r"|未知|不明|不清楚|不明确|알 수 없음|غير معروف|अज्ञात)"
)
_FEWEST_LETTERS: Final = 3


def kind_of(text: str) -> Kind:
    """The kind of a text that stands in the place of a request, without tags.

    Returns:
        `unchanged` if all of it says that the request stays as it is; `remark` for a placeholder, a
        status or a comment on the request; else `request`.
    """
    plain = " ".join(normal_form("NFKC", text.translate(_QUOTES)).casefold().split(" "))
    plain = plain.strip(_EDGES)
    inner = _without_brackets(plain)
    bracketed = inner != plain and "?" not in inner
    kinds = [_sentence(part) for part in _sentences(inner[:_LONGEST_REMARK])]
    if not kinds:
        return "remark"
    long = len(inner) > _LONGEST_REMARK
    if not long and "unchanged" in kinds and "request" not in kinds:
        return "unchanged"
    bare = inner.strip(_EDGES + _ENDS + "…()")
    if bracketed or (len(bare) <= _LONGEST_FORM and _is_form(bare, inner)):
        return "remark"
    if kinds[0] == "remark" or (not long and "request" not in kinds):
        return "remark"
    return "request"


def _is_form(bare: str, text: str) -> bool:
    return bool(_NOTHING.fullmatch(bare) or ("?" not in text and _FORM.fullmatch(bare)))


def _sentence(text: str) -> Literal["request", "unchanged", "remark", "aside"]:
    said = text.strip(_EDGES + "()[]")
    said = _LABEL.sub("", said, count=1) if _LABEL.match(said) else said
    if _OFFER.match(said):
        return "aside"
    if said.endswith(("?", "؟")):
        return "request"
    said = said.rstrip(_ENDS + _EDGES)
    if _unchanged().match(said):
        return "unchanged"
    is_remark = _REMARK.match(said)
    if not (is_remark or _AND_NOTHING_ELSE.match(said)):
        return "request"
    # "It is harmless, so the request needs no change": the last clause decides.
    *_, last = _CLAUSE.split(said)
    if last != said and _unchanged().match(last):
        return "unchanged"
    return "remark" if is_remark else "aside"


@lru_cache(maxsize=1)
def _unchanged() -> re.Pattern[str]:
    # Made once it is needed: it takes a tenth of a second, and every command imports this module.
    return re.compile(_UNCHANGED)


def _sentences(text: str) -> list[str]:
    parts = (part.strip() for part in _SENTENCE.findall(text))
    return [part for part in parts if any(map(str.isalnum, part))]


def _without_brackets(text: str) -> str:
    """A text without the brackets around all of it."""
    bare = text.rstrip(_ENDS + _EDGES)
    for _ in range(_DEEPEST):
        if len(bare) < 2 or _PAIRS.get(bare[0]) != bare[-1]:
            break
        inside = bare[1:-1]
        if inside.find(bare[-1]) < inside.rfind(bare[0]):  # two pairs side by side
            break
        bare = text = inside.strip(_EDGES)
    return text


def says_nothing(text: str) -> bool:
    """Whether a text that should hold an addition says that none is needed (`none`)."""
    return _NONE_NEEDED.fullmatch(text.strip(f"{_EDGES}{_ENDS}()[]").casefold()) is not None


def is_placeholder(text: str) -> bool:
    """Whether a text is nothing but marks (`...`), or a name of what should stand in its place."""
    plain = text.strip(_EDGES + _ENDS)
    return not any(map(str.isalnum, plain)) or _SLOT.fullmatch(plain) is not None


def is_blank(text: str) -> bool:
    """Whether a text that should hold at least a sentence of a model's own holds none.

    So are `none`, `N/A`, `unknown`, a placeholder, and one with fewer than three letters, unless
    they are of a script that writes a word in one.
    """
    if says_nothing(text) or is_placeholder(text):
        return True
    bare = text.strip(f"{_EDGES}{_ENDS}()[]{{}}<>").casefold()
    if _NOTHING.fullmatch(bare) or _UNKNOWN.fullmatch(bare):
        return True
    letters = [each for each in bare if each.isalpha()]
    return len(letters) < _FEWEST_LETTERS and not any(each >= "\u2e80" for each in letters)
