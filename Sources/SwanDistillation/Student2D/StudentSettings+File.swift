import Foundation
import SwanCheckpoints
import SwanModels
package import SwanSystem
import Yams

extension StudentSettings {
    /// The options of a command that replace keys of a file: texts by key, several for a list.
    package typealias Overrides = [String: [String]]

    /// The file of a run, with what a command replaced in it.
    package struct File: Sendable {
        package let settings: StudentSettings
        /// The settings as YAML, from which a resumed run tells whether they are the same.
        package let text: String

        /// Reads a training file; returns nil if it is not one of a student for pictures, which
        /// has the key `student_config` or is asked for by an option of that name.
        ///
        /// - Parameter root: The folder that the path of a student's configuration is relative to.
        /// - Throws: `invalidRecipe` with the file and the key.
        package init?(
            _ path: String,
            _ overrides: Overrides = [:],
            root: String = "."
        ) throws(SwanError) {
            guard let text = try? SmallFile.text(path),
                let node = try? StrictYAML.compose(text),
                var mapping = node.mapping
            else { return nil }
            let key = StudentKey.studentConfig.rawValue
            guard overrides[key] != nil || mapping.keys.contains(where: { $0.string == key })
            else { return nil }
            for (key, values) in overrides {
                let isList = key == StudentKey.samplePrompts.rawValue
                mapping[Node(key)] = isList ? Node(values.map { Node($0) }) : Node(values[0])
            }
            do throws(SwanError) {
                let configKey = Node(key)
                if let name = mapping[configKey]?.string {
                    mapping[configKey] = try StudentSettings.config(at: name, root)
                }
                settings = try StudentSettings(mapping)
                self.text = try Self.yaml(mapping)
            } catch {
                throw SwanError(error.code, "\(path): \(error.message)", cause: error)
            }
        }

        private static func yaml(_ mapping: Node.Mapping) throws(SwanError) -> String {
            do {
                return try Yams.serialize(node: Node.mapping(mapping), sortKeys: true)
            } catch {
                throw SwanError(.invalidRecipe, "cannot be written as YAML", cause: error)
            }
        }
    }

    /// Parses settings; a missing, unknown or mistyped key is an error that names it.
    package init(yaml text: String) throws(SwanError) {
        try self.init(KeyedSettings(yaml: text))
    }

    init(_ mapping: Node.Mapping) throws(SwanError) {
        try self.init(KeyedSettings(mapping))
    }

    private init(_ file: KeyedSettings<StudentKey>) throws(SwanError) {
        self.init()
        notes = file.notes
        isParity = try file.values[.isParity]?.truth() ?? false
        for key in StudentKey.allCases {
            if let value = file.values[key] { try set(key, value) }
        }
        try file.require([.teacherPath, .studentConfig, .dataPath])
    }

    private mutating func set(_ key: StudentKey, _ value: SettingValue) throws(SwanError) {
        if try setTraining(key, value) { return }
        if try setTeacher(key, value) { return }
        switch key {
        case .dataPath: dataPath = try value.text()
        case .cachePath: cachePath = try value.text()
        case .savesSamples: drawsSamples = try value.truth()
        case .sampleFolder: sampleFolder = try value.text()
        case .samplePrompts: samplePrompts = try value.texts()
        case .sampleInterval: sampleInterval = try value.integer(in: 1...1_000_000)
        case .samplesPerPrompt: samplesPerPrompt = try value.integer(in: 1...100_000)
        case .heldOutRows: heldOutRows = try value.integer(in: 0...1_000_000)
        case .seed: seed = UInt64(try value.integer(in: 0...Int.max))
        case .studentConfig: try setStudent(value)
        default: break
        }
    }

    private mutating func setTraining(
        _ key: StudentKey,
        _ value: SettingValue
    ) throws(SwanError) -> Bool {
        switch key {
        case .batch: batch = try value.integer(in: 1...100_000)
        case .steps: steps = try value.integer(in: 1...1_000_000_000)
        case .epochs: epochs = try value.integer(in: 1...1_000_000)
        case .rate: rate = try value.number(in: 0...1)
        case .weightDecay: weightDecay = try value.number(in: 0...100)
        case .accumulation: accumulation = try value.integer(in: 1...100_000)
        case .checkpointing: checkpointsGradients = try value.truth()
        case .checkpointSteps: checkpointSteps = try value.integer(in: 1...1_000_000_000)
        case .shift: shift = try value.number(in: 0.001...1_000)
        case .projection: projection = try value.choice()
        default: return false
        }
        return true
    }

    private mutating func setTeacher(
        _ key: StudentKey,
        _ value: SettingValue
    ) throws(SwanError) -> Bool {
        switch key {
        case .teacherPath: teacherPath = try value.text()
        case .teacherDType: teacherDType = try value.dtype()
        case .strategy: strategy = try value.choice()
        case .teacherOnCPU:
            guard try value.truth() else { break }
            if let strategy, strategy != .cpu {
                notes.append(
                    "no effect of teacher_on_cpu: teacher_device_strategy is \(strategy.rawValue)"
                )
            } else {
                strategy = .cpu
            }
        case .guidance: guidance = try value.number(in: 0...100)
        case .negativePrompt: negativePrompt = try value.text()
        case .teacherSteps: teacherSteps = try value.integer(in: 1...1_000)
        case .teacherShift: teacherShift = try value.number(in: 0.001...1_000)
        default: return false
        }
        return true
    }
}

// MARK: - The student's configuration

extension StudentSettings {
    /// The configuration in a file of JSON or YAML.
    static func config(at path: String, _ root: String) throws(SwanError) -> Node {
        let path = path.hasPrefix("/") ? path : root + "/" + path
        let text = try SmallFile.text(path)
        let node: Node?
        do {
            node = try StrictYAML.compose(text)
        } catch {
            throw SwanError(.invalidRecipe, "\(path): \(error.description)", cause: error)
        }
        guard let node, node.mapping != nil else {
            throw SwanError(.invalidRecipe, "\(path): has no keys with values")
        }
        return node
    }

    private mutating func setStudent(_ value: SettingValue) throws(SwanError) {
        guard let mapping = value.node.mapping else {
            throw value.invalid("must be the path of a student's configuration, or its keys")
        }
        var dead: [String] = []
        for name in mapping.keys.map({ $0.string ?? "" }) {
            guard StudentKey.inConfig.contains(name) else {
                throw value.invalid(
                    "unknown key '\(name.printable())'"
                        + suggestion(for: name, in: StudentKey.inConfig)
                )
            }
            if StudentKey.deadInConfig.contains(name) { dead.append(name) }
        }
        if !dead.isEmpty {
            notes.append(
                "student_config: no effect of \(dead.sorted().joined(separator: ", ")): a prompt has "
                    + "the tokens that the teacher sees, and weights are cut to the student's sizes"
            )
        }
        do {
            student = try YAMLDecoder().decode(LiteStudentConfig.self, from: value.node)
        } catch {
            throw value.invalid("\(error)".printable(limit: 400))
        }
        if mapping[Node("positions")] == nil { student.positions = isParity ? .none : .rope }
        do {
            try student.validate()
        } catch {
            throw value.invalid(error.message)
        }
    }
}
