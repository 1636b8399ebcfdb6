package import SwanSystem

/// The ranks that this machine starts, of a job on one machine or on several.
package struct RankPlan: Sendable, Equatable {
    /// The number of processes on each machine, and of machines.
    package let processes: Int
    package let nodes: Int
    /// The number of this machine.
    package let node: Int
    /// The address where the processes meet: the first machine's.
    package let host: String
    /// Its port; nil for any free one.
    package let port: UInt16?

    private static let most = 4_096

    /// Checks the parts of a plan.
    ///
    /// - Parameters:
    ///   - node: The number of this machine; nil only if there is one.
    ///   - master: `HOST:PORT` of the first machine; nil only if there is one.
    /// - Throws: `invalidRequest` with what is wrong.
    package init(
        processes: Int,
        nodes: Int = 1,
        node: Int? = nil,
        master: String? = nil
    ) throws(SwanError) {
        guard processes >= 1, nodes >= 1, processes <= Self.most, nodes <= Self.most else {
            throw Self.invalid("--nproc and --nnodes must be 1 to \(Self.most)")
        }
        guard let number = node ?? (nodes == 1 ? 0 : nil) else {
            throw Self.invalid("--nnodes \(nodes) needs --node-rank, the number of this machine")
        }
        guard 0..<nodes ~= number else {
            throw Self.invalid("--node-rank must be 0 to \(nodes - 1), not \(number)")
        }
        guard nodes == 1 || master != nil else {
            throw Self.invalid("--nnodes \(nodes) needs --master HOST:PORT, the first machine")
        }
        self.processes = processes
        self.nodes = nodes
        self.node = number
        guard let master else {
            (host, port) = ("127.0.0.1", nil)
            return
        }
        (host, port) = try Self.parse(master)
    }

    private static func parse(_ master: String) throws(SwanError) -> (String, UInt16) {
        guard let colon = master.lastIndex(of: ":"),
            let port = UInt16(master[master.index(after: colon)...]), port > 0
        else {
            throw invalid("--master \(master.printable(limit: 100)): not HOST:PORT")
        }
        var host = master[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else {
            throw invalid("--master \(master.printable(limit: 100)): no host before the port")
        }
        return (String(host), port)
    }

    private static func invalid(_ message: String) -> SwanError {
        SwanError(.invalidRequest, message)
    }

    /// The number of processes on all machines.
    package var size: Int { processes * nodes }
    /// The rank of this machine's first process.
    package var firstRank: Int { processes * node }
    /// Whether this machine serves the store.
    package var servesStore: Bool { node == 0 }

    /// What a process finds in its environment: torchrun's variables, and one of Swan's own.
    ///
    /// - Parameters:
    ///   - localRank: The number of the process on this machine.
    ///   - port: The port of the store.
    package func variables(localRank: Int, port: UInt16) -> [String: String] {
        [
            "RANK": "\(firstRank + localRank)", "WORLD_SIZE": "\(size)",
            "LOCAL_RANK": "\(localRank)", "LOCAL_WORLD_SIZE": "\(processes)",
            "GROUP_RANK": "\(node)", "GROUP_WORLD_SIZE": "\(nodes)",
            "MASTER_ADDR": host, "MASTER_PORT": "\(port)",
            "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_USE_AGENT_STORE": "True",
            Launch.sharedTerminal: "1",
        ]
    }
}
