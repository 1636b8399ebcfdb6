/// A published model that Swan knows by name: where its files are, and which of them it needs.
package struct KnownModel: Equatable, Sendable {
    /// Some files of a model.
    package struct Part: Equatable, Sendable {
        /// Where files are.
        package enum Place: Equatable, Sendable {
            /// A repository of Hugging Face: `owner/name`.
            case repository(String)
            /// A single file.
            case file(url: String)
        }

        package let place: Place
        /// The files to take from a repository, as patterns.
        package var files: [String] = []
        /// The folder of the repository whose files belong at the top of the model's folder.
        package var folder = ""
    }

    package let name: String
    /// What it is for, in a few words.
    package let summary: String
    /// The license, as its authors name it.
    package let license: String
    package let parts: [Part]
    /// Files that Swan writes, by name.
    package var written: [String: String] = [:]

    /// The only repository that all of the model comes from; nil if there are several.
    package var repository: String? {
        guard parts.count == 1, case .repository(let name) = parts[0].place else { return nil }
        return name
    }
}
