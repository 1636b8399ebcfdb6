import SwanSystem

extension KnownLooks: Decodable {
    /// The maximum numbers of looks, of phrases per look, and of letters per phrase.
    private static let limit = (looks: 256, phrases: 256, letters: 200)

    /// Returns the looks that a bundled model, given its name, or a model folder declares; nil
    /// if it declares none.
    ///
    /// - Throws: An error if there is no model, or if its parts cannot be opened.
    public static func ofModel(_ nameOrPath: String) throws -> KnownLooks? {
        let folder = try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath)
        _ = try folder.configs()
        try folder.require(ModelFolder.Part.ofEveryModel)
        return try folder.configuration().looks
    }

    /// Decodes the key `looks` of a model's `stream.yaml`.
    public init(from decoder: any Decoder) throws {
        let path = decoder.codingPath
        func require(_ holds: Bool, _ message: String) throws {
            guard !holds else { return }
            throw DecodingError.dataCorrupted(
                .init(codingPath: path, debugDescription: "looks: \(message)")
            )
        }
        func text(_ text: String, _ what: String) throws -> String {
            try require(
                !text.isEmpty && text == text.printable(limit: Self.limit.letters),
                "\(what) must be text of 1 to \(Self.limit.letters) characters, "
                    + "without control characters"
            )
            return text
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
                let element = try? list?.decode(String.self)
                texts.append(try text(element ?? "", "a phrase of \(what)"))
            }
            return texts
        }
        func fields(
            _ decoder: any Decoder,
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
        let sections = try fields(decoder, ["no_change", "known"], "it")
        var looks = try? sections.nestedUnkeyedContainer(forKey: AnyCodingKey(stringValue: "known"))
        try require(
            (1...Self.limit.looks).contains(looks?.count ?? 0),
            "known must be a list of 1 to \(Self.limit.looks) looks"
        )
        var known: [Look] = []
        while looks?.isAtEnd == false {
            guard let element = try looks?.superDecoder() else { break }
            let values = try fields(element, ["name", "phrases"], "a look of known")
            let title = try? values.decode(String.self, forKey: AnyCodingKey(stringValue: "name"))
            known.append(
                Look(
                    name: try text(title ?? "", "a name"),
                    phrases: try texts(values, "phrases", "the phrases of a look")
                )
            )
        }
        self.init(noChange: try texts(sections, "no_change", "no_change"), known: known)
    }
}
