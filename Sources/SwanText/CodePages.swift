/// A single-byte character set: the scalar of each of the 256 byte values.
///
/// Decoding UTF-8 with one of these produces mojibake.
struct CodePage: Sendable {
    /// Whether unassigned bytes decode to Latin-1 control characters, and byte 1A to U+FFFD, the
    /// mark of a lost byte.
    let isSloppy: Bool
    /// Whether a UTF-8 lead byte decodes to a dash. A dash before a space then does not indicate a
    /// sequence whose byte A0 became a space.
    var hasDashAsLead: Bool { scalars[0xD0] == "–" }
    /// The scalar of each byte.
    let scalars: [Unicode.Scalar]
    private let bytes: [Unicode.Scalar: UInt8]

    /// Creates a page from the scalars of its last bytes up to FF, `top`, with U+FFFD for an
    /// unassigned byte. All bytes before them decode as in Latin-1.
    init(isSloppy: Bool, top: String) {
        var scalars = (0...255).map { Unicode.Scalar(UInt8($0)) }
        let unassigned: Unicode.Scalar = "\u{FFFD}"
        for (byte, scalar) in zip((0...255).reversed(), top.unicodeScalars.reversed())
        where scalar != unassigned {
            scalars[byte] = scalar
        }
        if isSloppy { scalars[CodePage.substitute] = unassigned }
        self.isSloppy = isSloppy
        self.scalars = scalars
        bytes = Dictionary(
            zip(scalars, (0...255).map { UInt8($0) }),
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// The bytes that decode to `text`; nil if a scalar has no byte.
    func encode(_ text: [Unicode.Scalar]) -> [UInt8]? {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(text.count)
        for scalar in text {
            guard let byte = bytes[scalar] else { return nil }
            encoded.append(byte)
        }
        return encoded
    }

    /// The ASCII control character SUBSTITUTE.
    private static let substitute = 0x1A

    static let latin1 = CodePage(isSloppy: false, top: "")

    static let windows1250 = CodePage(
        isSloppy: true,
        top: """
            €�‚�„…†‡�‰Š‹ŚŤŽŹ�‘’“”•–—�™š›śťžź\
            \u{A0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{AD}®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż\
            ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß\
            ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙
            """
    )

    static let windows1251 = CodePage(
        isSloppy: true,
        top: """
            ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—�™љ›њќћџ\
            \u{A0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{AD}®Ї°±Ііґµ¶·ё№є»јЅѕї\
            АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ\
            абвгдежзийклмнопрстуфхцчшщъыьэюя
            """
    )

    static let windows1252 = CodePage(
        isSloppy: true,
        top: """
            €�‚ƒ„…†‡ˆ‰Š‹Œ�Ž��‘’“”•–—˜™š›œ�žŸ\
            \u{A0}¡¢£¤¥¦§¨©ª«¬\u{AD}®¯°±²³´µ¶·¸¹º»¼½¾¿\
            ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß\
            àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ
            """
    )

    static let windows1253 = CodePage(
        isSloppy: true,
        top: """
            €�‚ƒ„…†‡�‰�‹�����‘’“”•–—�™�›����\
            \u{A0}΅Ά£¤¥¦§¨©�«¬\u{AD}®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏ\
            ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡ�ΣΤΥΦΧΨΩΪΫάέήί\
            ΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ�
            """
    )

    static let windows1254 = CodePage(
        isSloppy: true,
        top: """
            €�‚ƒ„…†‡ˆ‰Š‹Œ����‘’“”•–—˜™š›œ��Ÿ\
            \u{A0}¡¢£¤¥¦§¨©ª«¬\u{AD}®¯°±²³´µ¶·¸¹º»¼½¾¿\
            ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞß\
            àáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ
            """
    )

    static let windows1257 = CodePage(
        isSloppy: true,
        top: """
            €�‚�„…†‡�‰�‹�¨ˇ¸�‘’“”•–—�™�›�¯˛�\
            \u{A0}�¢£¤�¦§Ø©Ŗ«¬\u{AD}®Æ°±²³´µ¶·ø¹ŗ»¼½¾æ\
            ĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß\
            ąįāćäåęēčéźėģķīļšńņóōõö÷ųłśūüżž˙
            """
    )

    static let iso8859Part2 = CodePage(
        isSloppy: false,
        top: """
            \u{A0}Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u{AD}ŽŻ°ą˛ł´ľśˇ¸šşťź˝žż\
            ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß\
            ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙
            """
    )

    static let macRoman = CodePage(
        isSloppy: false,
        top: """
            ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü\
            †°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø\
            ¿¡¬√ƒ≈∆«»…\u{A0}ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ\
            ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{F8FF}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ
            """
    )

    static let dos437 = CodePage(
        isSloppy: false,
        top: """
            ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ\
            áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
            └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
            αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{A0}
            """
    )
}
