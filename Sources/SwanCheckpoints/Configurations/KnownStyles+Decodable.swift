import SwanSystem

extension KnownStyles: Decodable {
    /// Returns the styles that a bundled model, given its name, or a model folder declares; nil
    /// if it declares none.
    ///
    /// - Throws: An error if there is no model, or if its parts cannot be opened.
    public static func ofModel(_ nameOrPath: String) throws -> KnownStyles? {
        let folder = try ModelFolder(ModelLocation.path(nameOrPath))
        _ = try folder.configs()
        try folder.require(ModelFolder.Part.ofEveryModel)
        return try folder.configuration().styles
    }

    /// Decodes the key `looks` of a model's `stream.yaml`.
    public init(from decoder: any Decoder) throws {
        let section = StylesSection(path: decoder.codingPath)
        let values = try section.fields(of: decoder, ["no_change", "known"], "it")
        self.init(
            noChange: try section.texts(values, "no_change", "no_change"),
            known: try section.known(values)
        )
    }
}

/// Reads the parts of `looks`, with messages that say what is expected.
private struct StylesSection {
    let path: [any CodingKey]

    /// The maximum numbers of styles, of phrases per style, and of letters per phrase.
    private static let limit = (looks: 256, phrases: 256, letters: 200)

    func known(_ values: KeyedDecodingContainer<AnyCodingKey>) throws -> [KnownStyles.Entry] {
        var looks = try? values.nestedUnkeyedContainer(forKey: AnyCodingKey(stringValue: "known"))
        try require(
            (1...Self.limit.looks).contains(looks?.count ?? 0),
            "known must be a list of 1 to \(Self.limit.looks) looks"
        )
        var known: [KnownStyles.Entry] = []
        while looks?.isAtEnd == false {
            guard let element = try looks?.superDecoder() else { break }
            known.append(try style(element))
        }
        return known
    }

    private func style(_ decoder: any Decoder) throws -> KnownStyles.Entry {
        let values = try fields(of: decoder, ["name", "phrases"], "a look of known")
        let name = try? values.decode(String.self, forKey: AnyCodingKey(stringValue: "name"))
        return KnownStyles.Entry(
            name: try text(name, "a name"),
            phrases: try texts(values, "phrases", "the phrases of a look")
        )
    }

    func texts(
        _ values: KeyedDecodingContainer<AnyCodingKey>,
        _ key: String,
        _ what: String
    ) throws -> [String] {
        var list = try? values.nestedUnkeyedContainer(forKey: AnyCodingKey(stringValue: key))
        try require(
            (1...Self.limit.phrases).contains(list?.count ?? 0),
            "\(what) must be a list of 1 to \(Self.limit.phrases) phrases"
        )
        var texts: [String] = []
        while list?.isAtEnd == false {
            texts.append(try text(try? list?.decode(String.self), "a phrase of \(what)"))
        }
        return texts
    }

    private func text(_ text: String?, _ what: String) throws -> String {
        let text = text ?? ""
        try require(
            !text.isEmpty && text == text.printable(limit: Self.limit.letters),
            "\(what) must be text of 1 to \(Self.limit.letters) characters, "
                + "without control characters"
        )
        return text
    }

    func fields(
        of decoder: any Decoder,
        _ keys: [String],
        _ what: String
    ) throws -> KeyedDecodingContainer<AnyCodingKey> {
        let values = try? decoder.container(keyedBy: AnyCodingKey.self)
        try require(values != nil, "\(what) must have the keys \(keys)")
        for key in values?.allKeys ?? [] {
            try require(
                keys.contains(key.stringValue),
                "\(what) must have the keys \(keys), not '\(key.stringValue.printable())'"
            )
        }
        return try decoder.container(keyedBy: AnyCodingKey.self)
    }

    private func require(_ holds: Bool, _ message: String) throws {
        guard !holds else { return }
        throw DecodingError.dataCorrupted(
            .init(codingPath: path, debugDescription: "looks: \(message)")
        )
    }
}
