import SwanSystem
import Testing

@testable import SwanDistributed

@Suite struct RankPlanTests {
    @Test func oneMachine() throws {
        let plan = try RankPlan(processes: 3)
        #expect((plan.size, plan.firstRank, plan.host, plan.port) == (3, 0, "127.0.0.1", nil))
        let launch = try #require(
            try Launch(environment: plan.variables(localRank: 2, port: 4_000))
        )
        var expected = Launch(rank: 2, size: 3, localRank: 2, localSize: 3, port: 4_000)
        expected.isServedByLauncher = true
        expected.sharesTerminal = true
        #expect(launch == expected)
        #expect(launch.isOnOneMachine && !launch.servesStore)
    }

    @Test func severalMachines() throws {
        let plan = try RankPlan(processes: 4, nodes: 3, node: 2, master: "[fe80::1]:29501")
        #expect((plan.size, plan.firstRank, plan.host, plan.port) == (12, 8, "fe80::1", 29_501))
        #expect(!plan.servesStore)
        let launch = try Launch(environment: plan.variables(localRank: 1, port: 29_501))
        #expect(launch?.rank == 9)
        #expect(launch?.localRank == 1)
        #expect(launch?.isOnOneMachine == false)
    }

    @Test(
        arguments: [
            (0, 1, nil, nil, "1 to 4096"), (2, 2, nil, "a:1", "--node-rank"),
            (2, 2, 2, "a:1", "0 to 1"), (2, 2, 0, nil, "--master"), (2, 1, nil, "a", "HOST:PORT"),
            (2, 1, nil, "a:70000", "HOST:PORT"), (2, 1, nil, "a:0", "HOST:PORT"),
            (2, 1, nil, ":1", "no host"),
        ] as [(Int, Int, Int?, String?, String)]
    )
    func invalid(processes: Int, nodes: Int, node: Int?, master: String?, message: String) {
        let error = #expect(throws: SwanError.self) {
            try RankPlan(processes: processes, nodes: nodes, node: node, master: master)
        }
        #expect(error?.message.contains(message) == true)
    }

    @Test func threads() throws {
        let plan = try RankPlan(processes: 4)
        #expect(RankLauncher(plan, [], environment: [:], cores: 10).threads == 2)
        #expect(RankLauncher(plan, [], environment: [:], cores: 2).threads == 1)
        #expect(RankLauncher(plan, [], environment: ["OMP_NUM_THREADS": ""], cores: 8).threads == 2)
        #expect(RankLauncher(plan, [], environment: ["OMP_NUM_THREADS": "8"]).threads == nil)
    }

    /// The figures of a forward over four ranks, in GB to two digits, and TFLOP.
    @Test(arguments: [
        ("1.3B, 81 frames 480p", 2.3, 4.5, 2.1, 280.0),
        ("1.3B, 81 frames 720p", 5.2, 10.5, 2.1, 1_243),
        ("14B, 81 frames 480p", 10, 20, 21, 1_662), ("14B, 81 frames 720p", 23, 46, 21, 6_489),
        ("5B, 121 frames 720p", 3.8, 7.5, 7.3, 511),
    ])
    func bytes(name: String, ulysses: Double, ring: Double, sharded: Double, work: Double) throws {
        let load = try #require(
            CommunicationModel.Workload.usual.first { $0.name == name }
        )
        func near(_ bytes: Double, _ expected: Double) -> Bool {
            abs(bytes / 1e9 - expected) < 0.05 * expected
        }
        #expect(near(CommunicationModel.bytes(.ulysses, load, ranks: 4), ulysses))
        #expect(near(CommunicationModel.bytes(.ring, load, ranks: 4), ring))
        #expect(near(CommunicationModel.bytes(.sharded, load, ranks: 4), sharded))
        #expect(abs(load.operations / 1e12 - work) < 0.03 * work)
        #expect(CommunicationModel.bytes(.ulysses, load, ranks: 1) == 0)
    }
}
