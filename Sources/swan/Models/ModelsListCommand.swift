import ArgumentParser
import SwanCheckpoints
import SwanHub
import SwanStore
import SwanSystem

/// `swan models list`: lists the bundled and the pulled models, or those that can be pulled.
struct ModelsListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the models that --model knows by name: bundled and pulled ones.",
        discussion: "'swan models pull' downloads those that --known lists, and others."
    )

    @Flag(help: "List the models that 'swan models pull' knows by name, instead.")
    var known = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    func run() throws {
        guard !known else { return try listKnown() }
        let bundled = try BundledModels.names.map { name in
            let path = BundledModels.folder(name)
            let looks = try path.flatMap { try KnownStyles.ofModel($0) }
            return ModelListing(bundled: name, path: path, looks: looks?.known.map(\.name))
        }
        let store = ModelStore()
        let (pulled, problems) = store.contents()
        for problem in problems { Terminal.standardError.write(kind: .warning, problem) }
        let models = bundled + pulled.map(ModelListing.init)
        guard !json else { return try StandardOutput.write(JSONText.data(models)) }
        for model in models { try StandardOutput.write(model.line) }
        for name in store.unfinished() {
            try StandardOutput.write(
                "\(name)\tnot complete: 'swan models pull \(name)' goes on"
            )
        }
    }

    private func listKnown() throws {
        guard !json else {
            return try StandardOutput.write(JSONText.data(KnownModels.all.map(KnownListing.init)))
        }
        for model in KnownModels.all {
            let known = KnownListing(model)
            let from = known.sources.joined(separator: ", ")
            try StandardOutput.write("\(model.name)\t\(model.summary)\t\(model.license)\t\(from)")
        }
    }

    private struct KnownListing: Encodable {
        let name, summary, license: String
        let sources: [String]

        init(_ model: KnownModel) {
            (name, summary, license) = (model.name, model.summary, model.license)
            sources = model.parts.map { part in
                switch part.place {
                case .repository(let name): name
                case .file(let url): url
                }
            }
        }
    }
}

/// A model in a list.
struct ModelListing: Encodable {
    let name: String
    let path: String?
    /// The names of the styles that it knows, if it lists them.
    var looks: [String]?
    /// Where a pulled model is from.
    var sources: [PulledModel.Source]?
    var license: String?
    /// The size of a pulled model.
    var bytes: Int?
    /// When it was pulled.
    var date: String?

    init(bundled name: String, path: String?, looks: [String]?) {
        (self.name, self.path, self.looks) = (name, path, looks)
    }

    init(_ model: StoredModel) {
        (name, path) = (model.record.name, model.location)
        (sources, license) = (model.record.sources, model.record.license)
        (bytes, date) = (model.record.bytes, model.record.date)
    }

    /// A line for people.
    var line: String {
        let place = path ?? "not installed: run 'make setup'"
        let facts = looks.map { "\t" + $0.joined(separator: ", ") } ?? ""
        let size = bytes.map { "\t" + ByteSize.text($0) } ?? ""
        return name + "\t" + place + facts + size
    }
}

/// `swan models rm`: removes pulled models.
struct RemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove pulled models, complete or not."
    )

    @Argument(help: "The names of the models, as 'swan models list' shows them.")
    var names: [String]

    func run() throws {
        let store = ModelStore()
        for name in names {
            if BundledModels.names.contains(name) {
                throw SwanError(.invalidRequest, "\(name): is bundled with Swan, and stays")
            }
            let bytes = try store.remove(name)
            Terminal.standardError.write(kind: .note, "\(name): removed, \(ByteSize.text(bytes))")
        }
    }
}
