import SwanSystem
import Yams

extension KnownLooks {
    /// Most looks, phrases of a look, and letters of a phrase that are read.
    private static let limit = (looks: 256, phrases: 256, letters: 200)

    /// What the model of a bundled one's name or in a folder says that it knows; nil where it says nothing.
    public static func ofModel(_ nameOrPath: String) throws(SwanError) -> KnownLooks? {
        try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath).configuration().looks
    }

    /// Reads the key `looks` of a model's `stream.yaml`.
    init(_ node: Node, _ name: String) throws(SwanError) {
        func require(_ holds: Bool, _ message: String) throws(SwanError) {
            if !holds { throw SwanError(.invalidConfiguration, "\(name): looks: \(message)") }
        }
        func text(_ node: Node?, _ what: String) throws(SwanError) -> String {
            let text = node?.string ?? ""
            try require(
                !text.isEmpty && text.count <= Self.limit.letters,
                "\(what) must be a text of 1 ... \(Self.limit.letters) characters"
            )
            return text
        }
        func texts(_ node: Node?, _ what: String) throws(SwanError) -> [String] {
            let nodes = node?.sequence.map(Array.init) ?? []
            try require(
                (1...Self.limit.phrases).contains(nodes.count),
                "\(what) must be a list of 1 ... \(Self.limit.phrases) phrases"
            )
            var texts: [String] = []
            for node in nodes { texts.append(try text(node, "a phrase of \(what)")) }
            return texts
        }
        func fields(_ node: Node, _ keys: [String], _ what: String) throws(SwanError) -> [Node?] {
            try require(node.mapping != nil, "\(what) must have the keys \(keys)")
            for key in node.mapping?.keys.map({ $0.string ?? "" }) ?? [] {
                try require(keys.contains(key), "\(what) must have the keys \(keys), not '\(key)'")
            }
            return keys.map { node[$0] }
        }
        let sections = try fields(node, ["no_change", "known"], "it")
        let looks = sections[1]?.sequence.map(Array.init) ?? []
        try require(
            (1...Self.limit.looks).contains(looks.count),
            "known must be a list of 1 ... \(Self.limit.looks) looks"
        )
        var known: [Look] = []
        for look in looks {
            let values = try fields(look, ["name", "phrases"], "a look of known")
            let title = try text(values[0], "a name")
            known.append(Look(name: title, phrases: try texts(values[1], "the phrases of a look")))
        }
        self.init(noChange: try texts(sections[0], "no_change"), known: known)
    }
}
