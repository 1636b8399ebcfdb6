import ArgumentParser

/// Names separated by commas, each at most once.
struct NameList<Name: RawRepresentable<String>>: ExpressibleByArgument, CustomStringConvertible {
    let names: [Name]

    var description: String { names.map(\.rawValue).joined(separator: ",") }

    init(_ names: [Name]) { self.names = names }

    init?(argument: String) {
        let texts = argument.split(separator: ",").map(String.init)
        names = texts.compactMap(Name.init(rawValue:))
        guard !texts.isEmpty, names.count == texts.count, Set(texts).count == texts.count else {
            return nil
        }
    }
}
